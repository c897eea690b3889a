"""Beam search with a pool of finished hypotheses, as one loop that can be compiled.

Formulas. A hypothesis of n tokens has the score `log p / n ** length_penalty`. It is finished when
it ends with the `min_ends`-th `end_id`. At every step the `topk` best unfinished hypotheses live
on. What finishes, and is among the `topk` best of all candidates of its step, goes to a pool of the
`topk` best finished ones, which never loses a better one to a worse; `topk = 1` is greedy search. A
sample is done when no living hypothesis can reach a place in its full pool any more, whatever
follows.
"""

import dataclasses
import math

from keras import ops

from kexue_keras.ops import LOWEST


@dataclasses.dataclass(frozen=True)
class SearchOptions:
    """What a program of beam search is compiled for; see `Generator`.

    Attributes:
        topk: number of beams and, at most, of results.
        maxlen, minlen: largest and smallest number of tokens, the end included.
        min_ends: how many `end_id` a text must have.
        end_id: id of the token that ends a text.
        length_penalty: scores are divided by the length to this power.
        renormalize: whether what a constraint allows sums to 1 at every step.
    """

    topk: int
    maxlen: int
    minlen: int
    min_ends: int
    end_id: int
    length_penalty: float = 0.0
    renormalize: bool = False


def search(model, source, logits, active, options, constraint=None):
    """Runs the whole search; pure, of static shapes.

    Args:
        model: a `CachedModel`.
        source: what `model.step` knows of the prompts.
        logits: `(batch, vocabulary)`, of the first token.
        active: bool `(batch,)`; False for samples that only fill up the batch.
        options: `SearchOptions`.
        constraint: None or what limits the texts, as `TreeConstraint`: has `start(batch)`,
            `candidates(logits, states, topk)`, `ending(logits, states, end_id)` and
            `advance(states, tokens)`.

    Returns:
        Of the finished and of the living hypotheses: token ids `(batch, topk, maxlen)`, scores
        `(batch, topk)` and numbers of tokens `(batch, topk)`.
    """
    batch, topk, maxlen = logits.shape[0], options.topk, options.maxlen
    state = first_state(batch, options, constraint)
    state = choose(state, logits[:, None], options, constraint)
    state = {**state, "done": ops.logical_or(state["done"], ops.logical_not(active))}
    cache = model.empty_cache(batch, topk, maxlen, shared=True)

    def going_on(state, cache):
        some_alive = ops.logical_not(ops.all(state["done"]))
        return ops.logical_and(state["index"] < maxlen, some_alive)

    def body(state, cache):
        logits, cache = feed(model, source, state, cache)
        return choose(state, logits, options, constraint), cache

    state, _ = ops.while_loop(going_on, body, (state, cache), maximum_iterations=maxlen)
    return results(state, options)


def first_state(batch, options, constraint=None):
    """The state before the first token: one empty living hypothesis, no finished one."""
    topk, maxlen = options.topk, options.maxlen
    state = {
        "index": ops.zeros((), "int32"),
        "tokens": ops.zeros((batch, 1, maxlen), "int32"),
        "scores": ops.zeros((batch, 1), "float32"),
        "ends": ops.zeros((batch, 1), "int32"),
        "ancestors": ops.zeros((batch, 1, maxlen), "int32"),
        "finished_tokens": ops.zeros((batch, topk, maxlen), "int32"),
        "finished_scores": ops.full((batch, topk), LOWEST, "float32"),
        "finished_lengths": ops.zeros((batch, topk), "int32"),
        "done": ops.zeros((batch,), "bool"),
    }
    if constraint is not None:
        state["constraint"] = constraint.start(batch)
    return state


def feed(model, source, state, cache):
    """The logits `(batch, topk, vocabulary)` after the newest token of every living hypothesis."""
    index = state["index"] - 1
    batch, topk, maxlen = state["tokens"].shape
    newest = ops.take(state["tokens"], index, axis=2)
    slots = ops.arange(topk)
    visible = ops.equal(state["ancestors"][..., None], slots)
    written = ops.arange(maxlen) <= index
    seen = ops.logical_and(written, ops.not_equal(state["tokens"], 0))
    visible = ops.logical_and(visible, seen[..., None])
    visible = ops.reshape(visible, (batch, topk, maxlen * topk))
    return model.step(newest, index, source, cache, visible)


def choose(state, logits, options, constraint=None):
    """Extends the living hypotheses by one token each and updates the pool of finished ones."""
    topk, end_id, index = options.topk, options.end_id, state["index"]
    would_finish = state["ends"] + 1 >= options.min_ends
    # one more than needed, since `end_id` may go
    if constraint is None:
        values, tokens = top_k(logits, topk + 1)
        ending, largest = logits[..., end_id], values[..., :1]
    else:
        values, tokens, allowed = constraint.candidates(logits, state["constraint"], topk + 1)
        ending = constraint.ending(logits, state["constraint"], end_id)
        largest = ops.max(logits, axis=-1, keepdims=True)
    if options.renormalize:
        normalizer = allowed
    else:
        normalizer = largest[..., 0] + ops.log(ops.sum(ops.exp(logits - largest), axis=-1))
    totals = state["scores"] - normalizer
    ending = totals + ending
    finishing = ops.logical_and(ops.equal(tokens, end_id), would_finish[..., None])
    values = ops.where(finishing, LOWEST, values)
    width = values.shape[-1]
    candidates = ops.maximum(totals[..., None] + values, LOWEST)
    batch, rows = totals.shape
    flat_tokens = ops.reshape(tokens, (batch, rows * width))
    flat = ops.reshape(candidates, (batch, rows * width))
    if rows * width < topk:
        padding = ((0, 0), (0, topk - rows * width))
        flat = ops.pad(flat, padding, constant_values=LOWEST)
        flat_tokens = ops.pad(flat_tokens, padding)
    scores, picked = ops.top_k(flat, topk)
    state = _finish(state, ending, scores, would_finish, options)
    parents = ops.minimum(picked // width, rows - 1)
    chosen = ops.cast(ops.take_along_axis(flat_tokens, picked, axis=1), "int32")
    now = ops.equal(ops.arange(options.maxlen), index)
    updated = {
        **state,
        "index": index + 1,
        "tokens": ops.where(now, chosen[..., None], _reorder(state["tokens"], parents)),
        "scores": scores,
        "ends": ops.take_along_axis(state["ends"], parents, axis=1)
        + ops.cast(ops.equal(chosen, end_id), "int32"),
        "ancestors": ops.where(
            now,
            ops.arange(topk, dtype="int32")[:, None],
            _reorder(state["ancestors"], parents),
        ),
    }
    if constraint is not None:
        states = ops.take_along_axis(state["constraint"], parents, axis=1)
        updated["constraint"] = constraint.advance(states, chosen)
    updated["done"] = ops.logical_or(state["done"], _hopeless(updated, options))
    return updated


def _finish(state, scores, rivals, would_finish, options):
    """Adds to the pool what `end_id`, with the summed log probability `scores`, would finish now.

    Only what is among the `topk` best beside each other and the living `rivals` `(batch, topk)`.
    """
    index = state["index"]
    allowed = ops.logical_and(would_finish, index + 1 >= options.minlen)
    length = ops.cast(index + 1, "float32")
    scores = ops.where(allowed, scores, LOWEST)
    competing = ops.concatenate([rivals, scores], axis=1)
    better = ops.sum(ops.cast(competing[:, None] > scores[..., None], "int32"), axis=-1)
    eligible = ops.logical_and(scores > LOWEST / 2, better < options.topk)
    scores = ops.where(eligible, _penalized(scores, length, options), LOWEST)
    now = ops.equal(ops.arange(options.maxlen), index)
    tokens = ops.where(now, options.end_id, state["tokens"])
    tokens = ops.concatenate([state["finished_tokens"], tokens], axis=1)
    lengths = ops.concatenate(
        [state["finished_lengths"], ops.full(scores.shape, index + 1, "int32")], axis=1
    )
    pool = ops.concatenate([state["finished_scores"], scores], axis=1)
    pool, picked = ops.top_k(pool, options.topk)
    return {
        **state,
        "finished_tokens": _reorder(tokens, picked),
        "finished_scores": pool,
        "finished_lengths": ops.take_along_axis(lengths, picked, axis=1),
    }


def _hopeless(state, options):
    """Whether no living hypothesis of a sample can enter its pool, whatever follows."""
    best = state["scores"][:, 0]
    soonest = ops.cast(ops.minimum(state["index"] + 1, options.maxlen), "float32")
    bound = ops.maximum(
        _penalized(best, soonest, options),
        _penalized(best, float(options.maxlen), options),
    )
    no_place = bound <= state["finished_scores"][:, -1]
    return ops.logical_or(no_place, best <= LOWEST / 2)


def _penalized(score, length, options):
    if options.length_penalty == 0:
        return score
    return score / ops.power(ops.cast(length, "float32"), options.length_penalty)


def _reorder(x, parents):
    return ops.take_along_axis(x, ops.cast(parents, "int32")[..., None], axis=1)


def results(state, options):
    """What `search` returns, from its last state."""
    length = ops.cast(state["index"], "float32")
    alive = state["scores"] > LOWEST / 2
    return {
        "finished_tokens": state["finished_tokens"],
        "finished_scores": state["finished_scores"],
        "finished_lengths": state["finished_lengths"],
        "alive_tokens": state["tokens"],
        "alive_scores": ops.where(alive, _penalized(state["scores"], length, options), LOWEST),
        "alive_length": state["index"],
    }


def top_k(x, k, block=64):
    """`ops.top_k` over the last axis of `x`, exact, quicker for long axes.

    The k largest values lie in the k blocks with the largest maxima, so only these are searched.
    """
    size = x.shape[-1]
    k = min(k, size)
    if k == 1:
        index = ops.argmax(x, axis=-1)[..., None]
        return ops.take_along_axis(x, index, axis=-1), ops.cast(index, "int32")
    # blocks that divide the axis need no padding, which would copy it
    block = next((n for n in range(block, 4 * block) if size % n == 0), block)
    if size < 4 * block * k:
        values, index = ops.top_k(x, k)
        return values, ops.cast(index, "int32")
    leading = x.shape[:-1]
    rows, blocks = math.prod(leading), -(-size // block)
    x = ops.reshape(x, (rows, size))
    x = ops.pad(x, ((0, 0), (0, blocks * block - size)), constant_values=2 * LOWEST)
    x = ops.reshape(x, (rows, blocks, block))
    _, best = ops.top_k(ops.max(x, axis=-1), k)
    best = ops.cast(best, "int32")
    where = best + blocks * ops.arange(rows, dtype="int32")[:, None]
    inside = ops.take(ops.reshape(x, (rows * blocks, block)), where, axis=0)
    values, index = ops.top_k(ops.reshape(inside, (rows, k * block)), k)
    index = ops.cast(index, "int32")
    found = ops.take_along_axis(best, index // block, axis=-1) * block + index % block
    return ops.reshape(values, (*leading, k)), ops.reshape(found, (*leading, k))
