"""Cached, batched, compiled generation with a transformer language model."""

import numpy as np
from keras import ops

from kexue_keras import backend
from kexue_keras.decoding import beam_search, sampling
from kexue_keras.decoding.cached_transformer import CachedTransformer
from kexue_keras.decoding.constraints.host import Choices, HostConstraint
from kexue_keras.decoding.constraints.tree import TreeConstraint, tree_tensors
from kexue_keras.decoding.prefix_tree import PrefixTree

_LENGTHS = (16, 32, 64, 128)


class Generator:
    """Generates with a causal or UniLM transformer: beam search, greedy search, sampling.

    Keys and values are cached, whole batches are decoded at once, and the loop is compiled by XLA,
    once per combination of options and padded sizes (the batch is filled up to a power of two, the
    prompts to a power of two or, above 128, a multiple of 128; sizes that were used before are
    taken again if they fit). Compiled programs are kept; further training of the model is seen.

    Args:
        model: a model of `build_transformer_model` with application "lm" or "unilm", with or
            without `target_positions`, or one that holds such layers.
        end_id: id of the token that ends a text.
        maxlen: largest number of generated tokens, the end included.
        start_id: id of a token to begin every target with, if the prompts do not; not returned.
        minlen: smallest number of generated tokens, the end included.

    Example:

    >>> from kexue_keras import decoding, models
    >>> model = models.Bert(20, 8, 1, 2, 16, application="unilm", with_mlm="linear")
    >>> generator = decoding.Generator(model, end_id=3, maxlen=5)
    >>> results = generator.beam_search([[2, 7, 3], [2, 8, 9, 3]], topk=2)
    >>> len(results), len(results[0])
    (2, 2)

    Reference: https://kexue.fm/archives/6933
    """

    def __init__(self, model, end_id, maxlen=64, start_id=None, minlen=1):
        if maxlen < 1:
            raise ValueError(f"`maxlen` must be at least 1. Received: {maxlen}")
        if not 1 <= minlen <= maxlen:
            raise ValueError(f"`minlen` must be from 1 to maxlen {maxlen}. Received: {minlen}")
        self.model = model if hasattr(model, "prefill") else CachedTransformer(model)
        for name, token in (("end_id", end_id), ("start_id", start_id)):
            if token is not None and not 0 <= token < self.model.vocab_size:
                raise ValueError(
                    f"`{name}` must be an id below {self.model.vocab_size}. Received: {token}"
                )
        self.end_id = int(end_id)
        self.start_id = start_id
        self.maxlen = maxlen
        self.minlen = minlen
        self._programs = {}
        self._tree = None
        self._sizes = set()

    def beam_search(
        self,
        token_ids,
        segment_ids=None,
        topk=1,
        min_ends=1,
        constraint=None,
        length_penalty=0.0,
        renormalize=False,
    ):
        """Finds the most probable continuations of every prompt.

        A hypothesis is finished by its `min_ends`-th `end_id`. Finished hypotheses keep a pool of
        their own and are never lost; the search of a sample ends when nothing alive can enter its
        pool. `topk=1` is greedy search.

        Args:
            token_ids: one list of token ids per sample, `[CLS] question [SEP]` say, or an int
                array `(batch, length)`, 0 on the right being padding.
            segment_ids: the same shape; zeros by default. Generated tokens have segment 1 in a
                UniLM, else that of the prompt's last token.
            topk: number of beams and, at most, of results.
            min_ends: how many `end_id` a text must have.
            constraint: None; or a `PrefixTree` whose keys are the allowed texts, their `end_id`
                included; or any object with `next_tokens(prefix)`, which returns the ids allowed
                after a tuple of generated ids, or a list of one object per sample. Such an object
                may also have `rescore(prefix, tokens, log_probabilities)`, which returns new ones.
                The tree is looked up inside the compiled loop; objects are asked step by step. A
                hypothesis without an allowed continuation dies; a sample may have no result.
            length_penalty: results are ranked by `log p / length ** length_penalty`.
            renormalize: scale the probabilities of what `constraint` allows to sum to 1 at every
                step. Else what the model would rather have written is held against a hypothesis,
                also where only one token is allowed.

        Returns:
            For every sample a list of `(ids, score)`, best first: ids a list of int that ends with
            `end_id` if it is finished, score a float in nats. Unfinished texts of length `maxlen`
            come last, and only if there are fewer than `topk` finished ones.
        """
        for name, value in (("topk", topk), ("min_ends", min_ends)):
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {value}")
        if renormalize and constraint is None:
            raise ValueError("`renormalize` needs a `constraint`. Received: None")
        prompts = self._prompts(token_ids, segment_ids)
        if not len(prompts["active"]):
            return []
        options = {
            "topk": topk,
            "maxlen": self.maxlen,
            "minlen": self.minlen,
            "min_ends": min_ends,
            "end_id": self.end_id,
            "length_penalty": float(length_penalty),
            "renormalize": bool(renormalize),
        }
        if constraint is None or isinstance(constraint, PrefixTree):
            found = self._search(prompts, options, constraint)
        else:
            found = self._search_on_host(prompts, options, constraint)
        found = {name: ops.convert_to_numpy(value) for name, value in found.items()}
        return [_best_first(found, i, topk) for i in np.flatnonzero(prompts["active"])]

    def random_sample(
        self,
        token_ids,
        segment_ids=None,
        n=1,
        topk=None,
        topp=None,
        temperature=1.0,
        consistent=False,
        min_ends=1,
        seed=None,
    ):
        """Samples `n` continuations of every prompt.

        Args:
            token_ids, segment_ids: as for `beam_search`.
            n: number of texts for every prompt.
            topk: None, or how many of the most probable tokens to choose from at every step.
            topp: None, or the total probability, over 0 and at most 1, of the most probable tokens
                to choose from (nucleus); applied to what `topk` left. The token that crosses it is
                kept, so that a tiny `topp` means greedy search.
            temperature: divides the logits; under 1 makes the probable more probable.
            consistent: whether `end_id` stays among the choices whatever `topk` and `topp` say, so
                that no text goes on for ever.
            min_ends: how many `end_id` a text must have.
            seed: int that decides everything. What is sampled for a prompt depends on its place in
                the list, not on the prompts beside it. None takes a seed from NumPy's global
                generator.

        Returns:
            For every prompt a list of `n` lists of int, which end with `end_id` unless the text
            was cut off at `maxlen`.

        Reference: https://kexue.fm/archives/7500, https://arxiv.org/abs/2002.02492
        """
        for name, value in (("n", n), ("topk", topk), ("min_ends", min_ends)):
            if not (value is None and name == "topk") and value < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {value}")
        if topp is not None and not 0 < topp <= 1:
            raise ValueError(f"`topp` must be over 0 and at most 1. Received: {topp}")
        if not 0 < temperature < float("inf"):
            raise ValueError(f"`temperature` must be positive. Received: {temperature}")
        if seed is None:
            seed = int(np.random.randint(1 << 31))
        if seed < 0:
            raise ValueError(f"`seed` must not be negative. Received: {seed}")
        prompts = self._prompts(token_ids, segment_ids)
        batch, samples = len(prompts["active"]), int(prompts["active"].sum())
        if not samples:
            return []
        options = {
            "topk": topk,
            "nucleus": topp is not None and topp < 1,
            "consistent": bool(consistent),
            "maxlen": self.maxlen,
            "minlen": self.minlen,
            "min_ends": min_ends,
            "end_id": self.end_id,
        }
        found = self._sampling_program(options)(
            *prompts.values(),
            sampling.uniforms(seed, samples, batch, n, self.maxlen),
            np.array(temperature, "float32"),
            np.array(1 if topp is None else topp, "float32"),
        )
        tokens, lengths = (ops.convert_to_numpy(found[name]) for name in ("tokens", "lengths"))
        return [
            [ids[:length].tolist() for ids, length in zip(*sample, strict=True)]
            for sample in zip(tokens[:samples], lengths[:samples], strict=True)
        ]

    def _sampling_program(self, options):
        key = ("sample", *sorted(options.items()))
        if key not in self._programs:

            def run(token_ids, segment_ids, lengths, active, *random):
                logits, source = self.model.prefill(token_ids, segment_ids, lengths)
                return sampling.sample(self.model, source, logits, active, options, *random)

            self._programs[key] = backend.jit(run, self.model.variables)
        return self._programs[key]

    def _search(self, prompts, options, tree):
        """The whole search as one program."""
        names = ("root", "first_branching", "max_degree")
        of_tree = () if tree is None else tuple(getattr(tree, name) for name in names)
        key = ("beam", of_tree, *sorted(options.items()))
        if key not in self._programs:

            def run(token_ids, segment_ids, lengths, active, *tensors):
                constraint = TreeConstraint(*tensors, *of_tree) if tensors else None
                logits, source = self.model.prefill(token_ids, segment_ids, lengths)
                return beam_search.search(self.model, source, logits, active, options, constraint)

            self._programs[key] = backend.jit(run, self.model.variables)
        tensors = () if tree is None else (self._tensors_of(tree),)
        return self._programs[key](*prompts.values(), *tensors)

    def _tensors_of(self, tree):
        if self._tree is None or self._tree[0] is not tree:
            self._tree = (tree, tree_tensors(tree))
        return self._tree[1]

    def _search_on_host(self, prompts, options, rules):
        """The search step by step, the choices of every step made by Python objects."""
        constraint = HostConstraint(rules, int(prompts["active"].sum()))
        key = ("beam on host", *sorted(options.items()))
        if key not in self._programs:
            topk, maxlen = options["topk"], options["maxlen"]

            def start(token_ids, segment_ids, lengths, active):
                logits, source = self.model.prefill(token_ids, segment_ids, lengths)
                batch = logits.shape[0]
                state = beam_search.first_state(batch, options, Choices())
                state["done"] = ops.logical_not(active)
                cache = self.model.empty_cache(batch, topk, maxlen, shared=True)
                return state, logits[:, None], source, cache

            def choose(state, logits, *choices):
                return beam_search.choose(state, logits, options, Choices(*choices))

            def feed(source, state, cache):
                return beam_search.feed(self.model, source, state, cache)

            variables = self.model.variables
            self._programs[key] = [backend.jit(f, variables) for f in (start, choose, feed)]
        start, choose, feed = self._programs[key]
        state, logits, source, cache = start(*prompts.values())
        for length in range(self.maxlen):
            view = [ops.convert_to_numpy(x) for x in (logits, state["tokens"], state["scores"])]
            choices = constraint.choices(*view, length, self.end_id, options["topk"])
            state = choose(state, logits, *choices)
            if length + 1 == self.maxlen or bool(ops.all(state["done"])):
                break
            logits, cache = feed(source, state, cache)
        return beam_search.results(state, options)

    def _prompts(self, token_ids, segment_ids):
        """The prompts as arrays of padded sizes: token ids, segment ids, lengths, active."""
        token_ids, segment_ids = (
            x if x is None or isinstance(x, list | tuple) else ops.convert_to_numpy(x)
            for x in (token_ids, segment_ids)
        )
        tokens = [_row("token_ids", i, row) for i, row in enumerate(token_ids)]
        if isinstance(token_ids, np.ndarray):
            tokens = [row[: _length(row)] for row in tokens]
        if segment_ids is None:
            segments = [np.zeros_like(row) for row in tokens]
        else:
            segments = [_row("segment_ids", i, row) for i, row in enumerate(segment_ids)]
        if len(segments) != len(tokens):
            raise ValueError(
                f"`segment_ids` must have as many rows as `token_ids`, {len(tokens)}. "
                f"Received: {len(segments)}"
            )
        if isinstance(segment_ids, np.ndarray):
            segments = [s[: len(t)] for s, t in zip(segments, tokens, strict=True)]
        if self.start_id is not None:
            unilm = self.model.mask.mode == "unilm"
            tokens = [np.append(row, self.start_id) for row in tokens]
            segments = [np.append(s, 1 if unilm or not len(s) else s[-1]) for s in segments]
        for i, (row, segment) in enumerate(zip(tokens, segments, strict=True)):
            self._check(i, row, segment)
        batch, length = self._padded_sizes(len(tokens), max(map(len, tokens), default=1))
        padded = np.zeros((2, batch, length), "int32")
        padded[0, :, 0] = self.end_id
        lengths = np.ones(batch, "int32")
        for i, rows in enumerate(zip(tokens, segments, strict=True)):
            for array, row in zip(padded, rows, strict=True):
                array[i, : len(row)] = row
            lengths[i] = len(rows[0])
        return {
            "token_ids": padded[0],
            "segment_ids": padded[1],
            "lengths": lengths,
            "active": np.arange(batch) < len(tokens),
        }

    def _padded_sizes(self, batch, length):
        """Sizes to pad to: those of an earlier call if they fit and are not far too large."""
        if not batch:
            return 0, length
        small = [n for n in _LENGTHS if n >= length]
        length = small[0] if small else -(-length // _LENGTHS[-1]) * _LENGTHS[-1]
        sizes = (1 << (batch - 1).bit_length(), min(length, self.model.max_position))
        fitting = [
            (b, n)
            for b, n in self._sizes
            if b >= sizes[0] and n >= sizes[1] and b * n <= 4 * sizes[0] * sizes[1]
        ]
        sizes = min(fitting, key=lambda size: size[0] * size[1], default=sizes)
        self._sizes.add(sizes)
        return sizes

    def _check(self, index, tokens, segments):
        if len(tokens) == 0:
            raise ValueError(f"`token_ids[{index}]` must hold at least one token. Received: []")
        if len(tokens) != len(segments):
            raise ValueError(
                f"`segment_ids[{index}]` must have the length of `token_ids[{index}]`, "
                f"{len(tokens)}. Received: {len(segments)}"
            )
        if tokens.min() < 0 or tokens.max() >= self.model.vocab_size:
            raise ValueError(
                f"`token_ids[{index}]` must hold ids from 0 to {self.model.vocab_size - 1}. "
                f"Received: {tokens.min()} to {tokens.max()}"
            )
        if len(tokens) + self.maxlen - 1 > self.model.max_position:
            raise ValueError(
                f"`token_ids[{index}]` and `maxlen` {self.maxlen} must fit into the model's "
                f"{self.model.max_position} positions. Received: {len(tokens)} tokens"
            )


def _row(name, index, row):
    row = np.asarray(row)
    if row.ndim != 1 or (row.size and row.dtype.kind not in "iu"):
        raise ValueError(
            f"`{name}[{index}]` must be a list of int. "
            f"Received: shape {row.shape}, dtype {row.dtype}"
        )
    return row.astype("int64")


def _length(row):
    """Length without padding on the right; the first token is never padding."""
    present = np.flatnonzero(row)
    return max(int(present[-1]) + 1 if present.size else 1, min(1, row.size))


def _best_first(found, sample, topk):
    results = []
    for rank in range(topk):
        score = float(found["finished_scores"][sample, rank])
        if score > beam_search.NEVER / 2:
            length = found["finished_lengths"][sample, rank]
            results.append((found["finished_tokens"][sample, rank, :length].tolist(), score))
    for rank in range(topk - len(results)):
        score = float(found["alive_scores"][sample, rank])
        length = int(found["alive_length"])
        if score > beam_search.NEVER / 2 and length == found["alive_tokens"].shape[-1]:
            results.append((found["alive_tokens"][sample, rank].tolist(), score))
    return results
