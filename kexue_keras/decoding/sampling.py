"""Random sampling from a language model, truncated or not, as one loop that can be compiled.

Formulas. With the temperature T the next token has the probabilities `p = softmax(logits / T)`.
Top-k keeps the k most probable tokens. The nucleus then keeps the smallest set of the most probable
ones whose total reaches `topp`, of what top-k kept and renormalised. *Consistent* sampling adds
`end_id` to what is left, with the probability it had, so that a text always can end. At last
everything is renormalised.

Reference: https://kexue.fm/archives/7500, Welleck et al. 2020, https://arxiv.org/abs/2002.02492
"""

import dataclasses

import numpy as np
from keras import ops

from kexue_keras.decoding.beam_search import top_k
from kexue_keras.ops import LOWEST


@dataclasses.dataclass(frozen=True)
class SamplingOptions:
    """What a program of sampling is compiled for; see `Generator`.

    Attributes:
        topk: how many of the most probable tokens to choose from; None: all.
        nucleus: whether `topp` counts.
        consistent: whether `end_id` stays among the choices.
        end_id: id of the token that ends a text.
        maxlen, minlen: largest and smallest number of tokens, the end included.
        min_ends: how many `end_id` a text must have.
    """

    topk: int | None
    nucleus: bool
    consistent: bool
    end_id: int
    maxlen: int = 64
    minlen: int = 1
    min_ends: int = 1


def sample(model, source, logits, active, options, uniforms, temperature, topp):
    """Samples the texts of a whole batch; pure, of static shapes.

    Args:
        model: a `CachedModel`.
        source: what `model.step` knows of the prompts.
        logits: `(batch, vocabulary)`, of the first token.
        active: bool `(batch,)`; False for samples that only fill up the batch.
        options: `SamplingOptions`.
        uniforms: float32 `(batch, n, maxlen)` in [0, 1), one for every token; see `uniforms`.
        temperature, topp: float32 scalars.

    Returns:
        Token ids `(batch, n, maxlen)`, the numbers of tokens `(batch, n)` and the number of steps.
    """
    batch, n, maxlen = uniforms.shape
    state = {
        "index": ops.zeros((), "int32"),
        "tokens": ops.zeros((batch, n, maxlen), "int32"),
        "ends": ops.zeros((batch, n), "int32"),
        "lengths": ops.zeros((batch, n), "int32"),
        "done": ops.logical_or(ops.logical_not(active)[:, None], ops.zeros((batch, n), "bool")),
    }

    def draw(state, logits):
        uniform = ops.take(uniforms, state["index"], axis=2)
        return extend(state, logits, uniform, options, temperature, topp)

    def going_on(state, cache):
        some_alive = ops.logical_not(ops.all(state["done"]))
        return ops.logical_and(state["index"] < maxlen, some_alive)

    def body(state, cache):
        index = state["index"] - 1
        newest = ops.take(state["tokens"], index, axis=2)
        written = ops.arange(maxlen) <= index
        visible = ops.logical_and(written, ops.not_equal(state["tokens"], 0))
        logits, cache = model.step(newest, index, source, cache, visible)
        return draw(state, logits), cache

    vocabulary = logits.shape[-1]
    state = draw(state, ops.broadcast_to(logits[:, None], (batch, n, vocabulary)))
    cache = model.empty_cache(batch, n, maxlen, shared=False)
    state, _ = ops.while_loop(going_on, body, (state, cache), maximum_iterations=maxlen)
    return {name: state[name] for name in ("tokens", "lengths", "index")}


def extend(state, logits, uniform, options, temperature, topp):
    """Adds a token, chosen by `uniform` `(batch, n)`, to every text that is not done."""
    end_id, index = options.end_id, state["index"]
    would_finish = state["ends"] + 1 >= options.min_ends
    too_short = ops.logical_and(would_finish, index + 1 < options.minlen)
    only_end = ops.equal(ops.arange(logits.shape[-1]), end_id)
    logits = ops.where(ops.logical_and(only_end, too_short[..., None]), LOWEST, logits)
    weights, tokens = candidates(logits, options, temperature, topp)
    chosen = pick(weights, tokens, uniform)
    alive = ops.logical_not(state["done"])
    ended = ops.logical_and(alive, ops.equal(chosen, end_id))
    now = ops.logical_and(ops.equal(ops.arange(options.maxlen), index), alive[..., None])
    finished = ops.logical_and(ended, would_finish)
    return {
        "index": index + 1,
        "tokens": ops.where(now, chosen[..., None], state["tokens"]),
        "ends": state["ends"] + ops.cast(ended, "int32"),
        "lengths": state["lengths"] + ops.cast(alive, "int32"),
        "done": ops.logical_or(state["done"], finished),
    }


def candidates(logits, options, temperature, topp):
    """The tokens to choose from and their weights, both `(batch, n, candidates)`.

    The weights are positive for the tokens that may be chosen, 0 for the others, and add up to
    anything.
    """
    shape, topk = logits.shape, options.topk
    logits = (logits - ops.max(logits, axis=-1, keepdims=True)) / temperature
    everything = ops.softmax(logits, axis=-1)
    if topk is None and not options.nucleus:
        weights = everything
        tokens = ops.broadcast_to(ops.arange(shape[-1], dtype="int32"), shape)
    else:
        weights, tokens = top_k(everything, topk or shape[-1])
    if options.nucleus:
        renormalised = weights / ops.sum(weights, axis=-1, keepdims=True)
        before = ops.cumsum(renormalised, axis=-1) - renormalised
        weights = ops.where(before < topp, weights, 0.0)
    if not options.consistent:
        return weights, tokens
    is_end = ops.equal(tokens, options.end_id)
    end = everything[..., options.end_id, None]
    # first, for the sum up to it is then exact however small it is
    weights = ops.concatenate([end, ops.where(is_end, 0.0, weights)], axis=-1)
    end_ids = ops.full((*shape[:-1], 1), options.end_id, "int32")
    return weights, ops.concatenate([end_ids, tokens], axis=-1)


def pick(weights, tokens, uniform):
    """One of `tokens` with probabilities proportional to `weights`, never one of weight 0."""
    totals = ops.cumsum(weights, axis=-1)
    crossed = totals > uniform[..., None] * totals[..., -1:]
    place = ops.argmax(ops.logical_and(crossed, weights > 0), axis=-1)
    return ops.take_along_axis(tokens, ops.cast(place, "int32")[..., None], axis=-1)[..., 0]


def uniforms(seed, samples, batch, n, maxlen):
    """Random numbers float32 `(batch, n, maxlen)` in [0, 1), small ones with all their digits.

    Those of a sample depend on the seed and on its place alone, not on how many follow. One is
    below p with probability p even if p is far below the 6e-8 that divide usual float32 ones.
    """
    below_one = np.nextafter(np.float32(1), np.float32(0))
    numbers = np.zeros((batch, n, maxlen), "float32")
    for index in range(samples):
        generator = np.random.default_rng([seed, index])
        numbers[index] = np.minimum(generator.random((n, maxlen)).astype("float32"), below_one)
    return numbers
