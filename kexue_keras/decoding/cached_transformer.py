"""A transformer language model one token at a time, with its keys and values cached."""

import re

from keras import ops

_NEEDED = ("Embedding-Token", "Embedding-Position", "Embedding-Norm", "Attention-Mask", "MLM-Bias")


class CachedTransformer:
    """Runs the layers of a causal or UniLM transformer step by step.

    The prompt's keys and values are kept once per sample, shared by all its hypotheses. The
    generated part has one slot per hypothesis and step. In a beam search every hypothesis sees the
    slots of its ancestors through a mask, so that no cache is ever copied when beams are reordered.

    Args:
        model: a model of `build_transformer_model` with application "lm" or "unilm", one reloaded
            from disk, or one that has such layers (by name) inside.
    """

    def __init__(self, model):
        found = {x.name: x for x in model._flatten_layers(include_self=False, recursive=True)}
        missing = [name for name in _NEEDED if name not in found]
        if missing:
            raise ValueError(
                "`model` must be a language model of build_transformer_model "
                f'(application "lm" or "unilm"). Received: {model.name!r}, without the layer '
                f"{missing[0]!r}"
            )
        attention = found.get("Transformer-0-MultiHeadSelfAttention")
        if getattr(attention, "position", None) == "relative":
            raise ValueError('`model` must not have position "relative", which is not cached')
        if not hasattr(attention, "normalize"):
            raise ValueError(
                "`model` must have attention over single keys, which can be cached. Received: "
                f"{type(attention).__name__}"
            )
        self.mask = found["Attention-Mask"]
        if self.mask.mode == "padding":
            raise ValueError(
                '`model` must be built with application "lm" or "unilm". Received: an encoder'
            )
        self._layers = found
        indices = (re.fullmatch(r"Transformer-(\d+)-FeedForward", name) for name in found)
        self.depth = 1 + max(int(match.group(1)) for match in indices if match)
        self.vocab_size = found["Embedding-Token"].input_dim
        self.max_position = found["Embedding-Position"].input_dim
        names = re.compile(r"(Embedding|Transformer|MLM)-.*")
        used = [layer for name, layer in found.items() if names.fullmatch(name)]
        self.variables = list({id(v): v for layer in used for v in layer.variables}.values())

    def target_segment(self, segment_ids, lengths):
        """Segment of generated tokens `(batch, 1)`: 1 in a UniLM, else that of the last token."""
        if self.mask.mode == "unilm":
            return ops.ones((ops.shape(lengths)[0], 1), "int32")
        return ops.take_along_axis(segment_ids, lengths[:, None] - 1, axis=1)

    def prefill(self, token_ids, segment_ids, lengths):
        """Reads the prompts.

        Args:
            token_ids, segment_ids: int32 `(batch, source)`, filled up with 0 on the right.
            lengths: int32 `(batch,)`, at least 1.

        Returns:
            The logits `(batch, vocabulary)`, float32, of the first token to generate, and the
            source: what `step` needs to know of the prompts.
        """
        mask = self.mask(token_ids, segment_ids)
        positions = ops.arange(ops.shape(token_ids)[1])[None]
        x = self._embed(token_ids, segment_ids, positions)
        caches = []
        for index in range(self.depth):
            attention = self._attention(index)
            query, key, value = (
                project(x)
                for project in (
                    attention.project_query,
                    attention.project_key,
                    attention.project_value,
                )
            )
            caches.append((_heads_first(key), _heads_first(value)))
            attended = attention.attend(query, key, value, mask)
            x = self._after_attention(x, attention.merge_heads(attended), index)
        last = ops.take_along_axis(x, lengths[:, None, None] - 1, axis=1)
        known = ops.logical_or(ops.not_equal(token_ids, 0), ops.equal(positions, 0))
        source = {
            "caches": caches,
            "visible": known[:, None, None],
            "lengths": lengths,
            "segment": self.target_segment(segment_ids, lengths),
        }
        return self._head(last)[:, 0], source

    def empty_cache(self, batch, slots, steps, shared):
        """Room for the keys and values of `slots` hypotheses a sample and `steps` tokens each.

        With `shared`, a hypothesis can look at the slots of the others (beam search).
        """
        caches = []
        for index in range(self.depth):
            attention = self._attention(index)
            size = attention.query_dense.units // attention.heads
            shape = (batch, attention.heads, steps * slots, size)
            if not shared:
                shape = (batch, slots, attention.heads, steps, size)
            empty = ops.zeros(shape, attention.compute_dtype)
            caches.append((empty, empty))
        return caches

    def step(self, token_ids, index, source, cache, visible):
        """Reads one more token of every hypothesis.

        Args:
            token_ids: int32 `(batch, slots)`.
            index: how many generated tokens come before these.
            source: from `prefill`.
            cache: from `empty_cache` or the step before.
            visible: bool, which generated tokens each hypothesis sees, its newest included (but
                never id 0, padding): `(batch, slots, steps * slots)` for a shared cache, else
                `(batch, slots, steps)`.

        Returns:
            The next logits `(batch, slots, vocabulary)`, float32, and the cache.
        """
        positions = source["lengths"][:, None] + index
        x = self._embed(token_ids, source["segment"], positions)
        updated = []
        for depth in range(self.depth):
            attention = self._attention(depth)
            query = _heads_first(attention.project_query(x, positions))
            new = (attention.project_key(x, positions), attention.project_value(x))
            stores = [_store(c, n, index) for c, n in zip(cache[depth], new, strict=True)]
            updated.append(tuple(stores))
            attended = _attend(attention, query, source, source["caches"][depth], stores, visible)
            x = self._after_attention(x, attention.merge_heads(attended), depth)
        return self._head(x), updated

    def _attention(self, index):
        return self._layers[f"Transformer-{index}-MultiHeadSelfAttention"]

    def _embed(self, token_ids, segment_ids, positions):
        layers = self._layers
        x = layers["Embedding-Token"](token_ids)
        if "Embedding-Segment" in layers:
            x = x + layers["Embedding-Segment"](segment_ids)
        x = layers["Embedding-Norm"](x + layers["Embedding-Position"].lookup(positions))
        return layers["Embedding-Mapping"](x) if "Embedding-Mapping" in layers else x

    def _after_attention(self, x, attended, index):
        layers = self._layers
        prefix = f"Transformer-{index}"
        x = layers[f"{prefix}-MultiHeadSelfAttention-Norm"](x + attended)
        return layers[f"{prefix}-FeedForward-Norm"](x + layers[f"{prefix}-FeedForward"](x))

    def _head(self, x):
        layers = self._layers
        x = layers["MLM-Norm"](layers["MLM-Dense"](x))
        return ops.cast(layers["MLM-Bias"](layers["Embedding-Token"](x, mode="dense")), "float32")


def _heads_first(x):
    return ops.transpose(x, (0, 2, 1, 3))


def _store(cache, new, index):
    """Writes the keys or values `(batch, slots, heads, size)` of step `index` into the cache."""
    new = ops.cast(new, cache.dtype)
    if len(cache.shape) == 4:
        return ops.slice_update(cache, (0, 0, index * new.shape[1], 0), _heads_first(new))
    return ops.slice_update(cache, (0, 0, 0, index, 0), new[:, :, :, None])


def _attend(attention, query, source, source_cache, stores, visible):
    """One distribution over the prompt and the generated tokens, `(batch, slots, heads, size)`."""
    key, value = source_cache
    query = ops.cast(query, "float32")  # and so the scores
    steps = visible.shape[-1]
    from_source = ops.einsum("bhsd,bhtd->bhst", query, ops.cast(key, "float32"))
    if len(stores[0].shape) == 4:
        generated = ops.einsum("bhsd,bhtd->bhst", query, ops.cast(stores[0], "float32"))
    else:
        generated = ops.einsum("bhsd,bshtd->bhst", query, ops.cast(stores[0], "float32"))
    scores = ops.concatenate([from_source, generated], axis=-1)
    prompt = ops.broadcast_to(source["visible"], (*visible[:, None].shape[:3], key.shape[2]))
    weights = attention.normalize(scores, ops.concatenate([prompt, visible[:, None]], axis=-1))
    weights = ops.cast(weights, value.dtype)
    on_source, on_generated = weights[..., :-steps], weights[..., -steps:]
    attended = _heads_first(ops.matmul(on_source, value))
    if len(stores[1].shape) == 4:
        return attended + _heads_first(ops.matmul(on_generated, stores[1]))
    return attended + ops.einsum("bhst,bshtd->bshd", on_generated, stores[1])
