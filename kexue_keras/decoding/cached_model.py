"""What `Generator` decodes with."""

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class CachedModel(Protocol):
    """A language model that reads prompts once and then single tokens.

    `CachedTransformer` is one; any other object with these members will do as the model of a
    `Generator`: an ensemble, an n-gram table, a model of another library. The methods are pure and
    compiled by XLA, so shapes are known; caches and sources are any structures of tensors.

    Attributes:
        application: "lm" or "unilm"; decides the segment of `start_id`.
        vocab_size: number of tokens.
        max_position: number of tokens of the longest text, prompt included; None: no limit.
        variables: list of the `keras.Variable` that are read.

    A model may also have the attribute `start_id`, not None: it begins targets with that token by
    itself, so that a generator appends none to the prompts.
    """

    application: str
    vocab_size: int
    max_position: int | None
    variables: list

    def prefill(self, token_ids, segment_ids, lengths) -> tuple[Any, Any]:
        """Prompts int32 `(batch, source)`, their lengths `(batch,)` -> logits
        `(batch, vocabulary)` of the first token, float32, and what `step` needs to know. Where the
        generator is given a condition, it comes as a fourth argument."""

    def empty_cache(self, batch, slots, steps, shared) -> Any:
        """Room for `steps` tokens of `slots` texts a sample; `shared`: they see each other's."""

    def step(self, token_ids, index, source, cache, visible) -> tuple[Any, Any]:
        """Token `index` of every text, int32 `(batch, slots)` -> the next logits
        `(batch, slots, vocabulary)`, float32, and the cache. `visible`, bool, says which cached
        tokens a text sees: `(batch, slots, steps * slots)`, or `(batch, slots, steps)` if the
        cache is not shared."""
