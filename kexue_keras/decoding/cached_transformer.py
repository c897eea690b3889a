"""A transformer language model one token at a time, with its keys and values cached."""

from keras import ops

from kexue_keras.decoding.attenders import Prefill, Step
from kexue_keras.layers.attention_mask import visible_tokens
from kexue_keras.models.graph_attention import Memory
from kexue_keras.models.transformer import blueprints_of


class CachedTransformer:
    """Runs a causal, UniLM or encoder-decoder transformer step by step, for `Generator`.

    The prompt's keys and values are kept once per sample, shared by all its hypotheses. The
    generated part has one slot per hypothesis and step. In a beam search every hypothesis sees the
    slots of its ancestors through a mask, so that no cache is ever copied when beams are reordered.

    The prompts of an encoder-decoder are what its encoder reads, once; the keys and values of that
    are computed once for every layer. Its decoder begins with `start_id`.

    Args:
        model: a model of `build_transformer_model` with application "lm" or "unilm", an
            encoder-decoder, one reloaded from disk, or a model with exactly one such transformer
            inside.
        start_id: the first token that the decoder of an encoder-decoder reads, 0 by default. Other
            models have it at the end of their prompts.
    """

    def __init__(self, model, start_id=None):
        self.blueprint = blueprint = language_model_of(model)
        if not all(hasattr(blueprint.attention(i), "project_key") for i in range(blueprint.depth)):
            raise ValueError(
                "`model` must have attention over single keys, which can be cached. Received: "
                f"{type(blueprint.attention(0)).__name__}"
            )
        if blueprint.application == "encoder":
            raise ValueError(
                '`model` must be built with application "lm" or "unilm". Received: an encoder'
            )
        if blueprint.reads_context:
            raise ValueError("`model` must have an encoder besides. Received: a decoder alone")
        self.start_id = (start_id or 0) if blueprint.has_encoder else None
        self.application = blueprint.application
        self.depth = blueprint.depth
        self.vocab_size = blueprint.vocab_size
        self.max_position = blueprint.length_limit
        self.condition_size = _condition_size(blueprint)
        self.segment_vocab_size = blueprint.segment_vocab_size
        layers = [*blueprint.layers.values(), blueprint.condition_model]
        used = (v for layer in layers if layer is not None for v in layer.variables)
        self.variables = list({id(v): v for v in used}.values())

    def prefill(self, token_ids, segment_ids, lengths, condition=None):
        """Reads the prompts.

        Args:
            token_ids, segment_ids: int32 `(batch, source)`, filled up with 0 on the right.
            lengths: int32 `(batch,)`, at least 1.
            condition: float `(batch, condition_size)`, if the model has conditions; of a
                `condition_model` its input.

        Returns:
            The logits `(batch, vocabulary)`, float32, of the first token to generate, and the
            source: what `step` needs to know of the prompts.
        """
        if condition is not None and self.blueprint.condition_model is not None:
            condition = self.blueprint.condition_model(condition)
        inputs = {"token_ids": token_ids, "segment_ids": segment_ids, "condition": condition}
        if self.start_id is None:
            return self._read(inputs, lengths)
        start = ops.full((token_ids.shape[0], 1), self.start_id, "int32")
        inputs |= {
            "source_ids": token_ids,
            "token_ids": start,
            "segment_ids": ops.zeros_like(start),
        }
        inputs["memory"] = self.blueprint.given(inputs).remember(inputs)
        logits, source = self._read(inputs, ops.ones_like(lengths))
        return logits, {**source, "visible_memory": inputs["memory"].visible}

    def _read(self, inputs, lengths):
        """Reads what the decoder sees before it generates; see `prefill`."""
        token_ids, segment_ids = inputs["token_ids"], inputs["segment_ids"]
        blueprint = self.blueprint.given(inputs)
        positions = ops.arange(ops.shape(token_ids)[1], dtype="int32")
        attend = Prefill(blueprint, positions, blueprint.attention_mask(inputs))
        x = blueprint.run(inputs, positions[None], attend)
        last = ops.take_along_axis(x, lengths[:, None, None] - 1, axis=1)
        segment = ops.take_along_axis(segment_ids, lengths[:, None] - 1, axis=1)
        source = {
            "caches": attend.caches,
            "memories": attend.memories,
            "visible": visible_tokens(token_ids)[:, None],
            "positions": positions,
            "lengths": lengths,
            "segment": segment_of_generated(self.application, segment),
        }
        if inputs["condition"] is not None:
            source["condition"] = inputs["condition"]
        return ops.cast(blueprint.head(last), "float32")[:, 0], source

    def empty_cache(self, batch, slots, steps, shared):
        """Room for the keys and values of `slots` hypotheses a sample and `steps` tokens each.

        With `shared`, a hypothesis can look at the slots of the others (beam search).
        """
        caches = []
        for index in range(self.depth):
            attention = self.blueprint.attention(index)
            pair = []
            for dense in (attention.key_dense, attention.value_dense):
                size = dense.units // attention.heads
                shape = (batch, attention.heads, steps * slots, size)
                if not shared:
                    shape = (batch, slots, attention.heads, steps, size)
                pair.append(ops.zeros(shape, attention.compute_dtype))
            caches.append(tuple(pair))
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
        start = source["lengths"][:, None]
        keys, slots = visible.shape[2], token_ids.shape[1]
        places = ops.arange(keys, dtype="int32")
        if len(cache[0][0].shape) == 4:
            places = places // slots
        inputs = {"token_ids": token_ids, "segment_ids": source["segment"]}
        inputs["condition"] = source.get("condition")
        if self.start_id is not None:
            inputs["memory"] = Memory(None, source["visible_memory"])
        attend = Step(self.blueprint, start + index, source, cache, index, visible, start + places)
        return self.logits(inputs, start + index, attend), attend.updated

    def logits(self, inputs, positions, attend):
        """Logits after every token, float32; see `Blueprint.run` for the arguments."""
        blueprint = self.blueprint.given(inputs)
        return ops.cast(blueprint.head(blueprint.run(inputs, positions, attend)), "float32")


def _condition_size(blueprint):
    """Size of what a sample's condition is given as, or None."""
    model = blueprint.condition_model
    if model is None:
        return blueprint.config["condition_size"]
    shapes = [tensor.shape for tensor in model.inputs]
    if len(shapes) > 1 or len(shapes[0]) != 2:
        raise ValueError(
            "`condition_model` must have one input (batch, size) to decode with a cache. "
            f"Received: {shapes}"
        )
    return shapes[0][1]


def segment_of_generated(application, last):
    """Segment of generated tokens: 1 in a UniLM, else that of the prompt's last token, `last`."""
    return ops.ones_like(last) if application == "unilm" else last


def language_model_of(model):
    """The blueprint of the one transformer in a model, which must be able to write.

    Raises:
        ValueError: there is none, there are two, or it lacks the head of a language model.
    """
    found = blueprints_of(model)
    if len(found) > 1:
        names = ", ".join(blueprint.model.name for blueprint in found)
        raise ValueError(
            f"`model` must hold exactly one transformer. Received: {model.name!r}, which holds "
            f"{names}"
        )
    needed = found[0].language_model_layers if found else ("Embedding-Token",)
    missing = [name for name in needed if not found or name not in found[0].layers]
    if missing:
        raise ValueError(
            "`model` must be a language model of build_transformer_model "
            f'(application "lm" or "unilm"). Received: {model.name!r}, without the layer '
            f"{missing[0]!r}"
        )
    return found[0]
