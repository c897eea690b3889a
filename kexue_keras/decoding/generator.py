"""Cached, batched, compiled generation with a transformer language model."""

import numpy as np
from keras import ops

from kexue_keras import backend
from kexue_keras.decoding import beam_search, sampling
from kexue_keras.decoding.beam_search import SearchOptions
from kexue_keras.decoding.cached_model import CachedModel
from kexue_keras.decoding.cached_transformer import CachedTransformer
from kexue_keras.decoding.constraints.host import Choices, HostConstraint
from kexue_keras.decoding.constraints.tree import TreeConstraint, tree_tensors
from kexue_keras.decoding.prefix_tree import PrefixTree
from kexue_keras.decoding.prompts import PromptReader
from kexue_keras.decoding.sampling import SamplingOptions
from kexue_keras.ops import LOWEST


class Generator:
    """Generates with a causal, UniLM or encoder-decoder transformer: beam search and sampling.

    Keys and values are cached, whole batches are decoded at once, and the loop is compiled by XLA,
    once per combination of options and padded sizes (the batch is filled up to a power of two, the
    prompts to a power of two or, above 128, a multiple of 128; sizes that were used before are
    taken again if they fit). Compiled programs are kept; further training of the model is seen.

    Args:
        model: a model of `build_transformer_model` with application "lm" or "unilm", with or
            without `target_positions`, an encoder-decoder, whose prompts are its encoder's, a model
            with exactly one such transformer inside (also in a training strategy), or any
            `CachedModel`.
        end_id: id of the token that ends a text.
        maxlen: largest number of generated tokens, the end included.
        start_id: id of a token to begin every target with, if the prompts do not; not returned. Of
            an encoder-decoder, what its decoder begins with, 0 by default.
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
        own = isinstance(model, CachedModel)
        self.model = model if own else CachedTransformer(model, start_id)
        for name, token in (("end_id", end_id), ("start_id", start_id)):
            if token is not None and not 0 <= token < self.model.vocab_size:
                raise ValueError(
                    f"`{name}` must be an id below {self.model.vocab_size}. Received: {token}"
                )
        self.end_id = int(end_id)
        self.start_id = start_id
        self.maxlen = maxlen
        self.minlen = minlen
        decoder_start = getattr(self.model, "start_id", None)
        if decoder_start is not None and start_id not in (None, decoder_start):
            raise ValueError(
                f"`start_id` must be that of `model`, {decoder_start}. Received: {start_id}"
            )
        # a decoder begins with it by itself
        appended = start_id if decoder_start is None else None
        self._prompts = PromptReader(self.model, self.end_id, appended, maxlen)
        self._programs = {}
        self._tree = None

    def beam_search(
        self,
        token_ids,
        segment_ids=None,
        topk=1,
        min_ends=1,
        constraint=None,
        length_penalty=0.0,
        renormalize=False,
        condition=None,
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
            condition: float `(samples, condition_size)`, of a model built with `condition_size`.

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
        prompts = self._prompts.read(token_ids, segment_ids, condition)
        if not len(prompts.active):
            return []
        options = SearchOptions(
            topk,
            self.maxlen,
            self.minlen,
            min_ends,
            self.end_id,
            float(length_penalty),
            bool(renormalize),
        )
        if constraint is None or isinstance(constraint, PrefixTree):
            found = self._search(prompts, options, constraint)
        else:
            found = self._search_on_host(prompts, options, constraint)
        found = {name: ops.convert_to_numpy(value) for name, value in found.items()}
        return [_best_first(found, i, topk) for i in np.flatnonzero(prompts.active)]

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
        condition=None,
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
            condition: as for `beam_search`.

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
        prompts = self._prompts.read(token_ids, segment_ids, condition)
        batch, samples = len(prompts.active), int(prompts.active.sum())
        if not samples:
            return []
        options = SamplingOptions(
            topk,
            topp is not None and topp < 1,
            bool(consistent),
            self.end_id,
            self.maxlen,
            self.minlen,
            min_ends,
        )
        found = self._sampling_program(options)(
            prompts,
            sampling.uniforms(seed, samples, batch, n, self.maxlen),
            np.array(temperature, "float32"),
            np.array(1 if topp is None else topp, "float32"),
        )
        tokens, lengths = (ops.convert_to_numpy(found[name]) for name in ("tokens", "lengths"))
        return [
            [ids[:length].tolist() for ids, length in zip(*sample, strict=True)]
            for sample in zip(tokens[:samples], lengths[:samples], strict=True)
        ]

    def _program(self, options, tree, make):
        """The program of some options and of a tree's shape, made once."""
        key = (options, tree)  # the two kinds of options are of different classes
        if key not in self._programs:
            self._programs[key] = [backend.jit(f, self.model.variables) for f in make()]
        return self._programs[key]

    def _start(self, prompts):
        """The first logits, and what the model knows of the prompts."""
        condition = () if prompts.condition is None else (prompts.condition,)
        return self.model.prefill(
            prompts.token_ids, prompts.segment_ids, prompts.lengths, *condition
        )

    def _sampling_program(self, options):
        def run(prompts, *random):
            logits, source = self._start(prompts)
            return sampling.sample(self.model, source, logits, prompts.active, options, *random)

        return self._program(options, None, lambda: [run])[0]

    def _search(self, prompts, options, tree):
        """The whole search as one program."""
        names = ("root", "first_branching", "max_degree")
        of_tree = () if tree is None else tuple(getattr(tree, name) for name in names)

        def run(prompts, *tensors):
            constraint = TreeConstraint(*tensors, *of_tree) if tensors else None
            logits, source = self._start(prompts)
            active = prompts.active
            return beam_search.search(self.model, source, logits, active, options, constraint)

        tensors = () if tree is None else (self._tensors_of(tree),)
        return self._program(options, of_tree, lambda: [run])[0](prompts, *tensors)

    def _tensors_of(self, tree):
        kept = self._tree  # another thread may put its own there
        if kept is None or kept[0] is not tree:
            kept = self._tree = (tree, tree_tensors(tree))
        return kept[1]

    def _search_on_host(self, prompts, options, rules):
        """The search step by step, the choices of every step made by Python objects."""
        constraint = HostConstraint(rules, int(prompts.active.sum()))
        start, choose, feed = self._program(options, "on host", lambda: self._host_steps(options))
        state, logits, source, cache = start(prompts)
        for length in range(self.maxlen):
            view = [ops.convert_to_numpy(x) for x in (logits, state["tokens"], state["scores"])]
            choices = constraint.choices(*view, length, self.end_id, options.topk)
            state = choose(state, logits, *choices)
            if length + 1 == self.maxlen or bool(ops.all(state["done"])):
                break
            logits, cache = feed(source, state, cache)
        return beam_search.results(state, options)

    def _host_steps(self, options):
        def start(prompts):
            logits, source = self._start(prompts)
            batch = logits.shape[0]
            state = beam_search.first_state(batch, options, Choices())
            state["done"] = ops.logical_not(prompts.active)
            cache = self.model.empty_cache(batch, options.topk, options.maxlen, shared=True)
            return state, logits[:, None], source, cache

        def choose(state, logits, *choices):
            return beam_search.choose(state, logits, options, Choices(*choices))

        def feed(source, state, cache):
            return beam_search.feed(self.model, source, state, cache)

        return start, choose, feed


def _best_first(found, sample, topk):
    results = []
    for rank in range(topk):
        score = float(found["finished_scores"][sample, rank])
        if score > LOWEST / 2:
            length = found["finished_lengths"][sample, rank]
            results.append((found["finished_tokens"][sample, rank, :length].tolist(), score))
    for rank in range(topk - len(results)):
        score = float(found["alive_scores"][sample, rank])
        length = int(found["alive_length"])
        if score > LOWEST / 2 and length == found["alive_tokens"].shape[-1]:
            results.append((found["alive_tokens"][sample, rank].tolist(), score))
    return results
