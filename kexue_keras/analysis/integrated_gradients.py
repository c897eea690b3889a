"""Integrated gradients: how much every input has to do with an output."""

import keras
import numpy as np
from keras import tree

from kexue_keras import backend
from kexue_keras.analysis.attributions import Attributions
from kexue_keras.analysis.path_program import is_floating, path_program, rows_of
from kexue_keras.analysis.quadrature import quadrature

# numbers that the rows of a pass may have, all together; and samples of one call of the program
_NUMBERS = 1 << 20
_SAMPLES = 32


def integrated_gradients(
    model,
    inputs,
    target,
    baseline=None,
    steps=50,
    embedding=None,
    *,
    rule="gauss_legendre",
    mask=None,
    batch_size=None,
):
    r"""Shares of the inputs in an output's difference from its value at a baseline.

    With the output $F$, the input $x$ and the baseline $\bar x$

    $$\mathrm{IG}_i = (x_i - \bar x_i) \int_0^1 \partial_i F(\bar x + \alpha (x - \bar x)) d\alpha,
    \qquad \sum_i \mathrm{IG}_i = F(x) - F(\bar x).$$

    Positive shares speak for the output, negative ones against it (the article shows their absolute
    values). A gradient at the input alone is zero where the output is saturated; the mean gradient
    along the path is not. For a linear $F$ both are its weights.

    All samples at all points are the rows of one compiled program, which takes so many at once as
    fit into memory. It is kept as long as the model is, so that another call with the same shapes
    is not compiled again; it takes the weights that the model has then. The model runs as in
    `predict`: without dropout. It is not changed.

    Args:
        model: a `keras.Model` of any kind, or a strategy around one, that treats every sample by
            itself.
        inputs: array, list or dict, as the model takes them, with a batch axis. The floating ones
            move along the path; integers stay, and have shares of 0.
        target: which output of `(batch, outputs)`: an int, or an int array `(batch,)`; or a
            callable of the outputs of some rows to a value for each, `(rows,)`. A callable that is
            made anew for every call has the program compiled anew.
        baseline: where the path begins. None: zeros. Without an embedding: a number, or arrays
            nested like `inputs`, which may be broadcast. With one: "mean", the mean vector of the
            vocabulary; an int, a token's id such as that of [MASK]; int ids `(batch or 1, length)`;
            or vectors, float `(batch or 1, length, size)`.
        steps: number of points of the integral.
        embedding: name of the layer that looks up the tokens of a model of token ids, in any nested
            model, such as "Embedding-Token" in ours. Its output moves, place by place, even where a
            token stands twice; its table stays, as the head of a language model may be tied to it.
        rule: "gauss_legendre", "midpoint", "right" (the article's sum), or a callable that takes
            `steps` and returns points and weights.
        mask: with an embedding: bool `(batch, length)`, the tokens to explain. The others stay on
            the whole path, and have shares of 0. None: by the mask of the layer, all but padding.
        batch_size: most rows of a pass of the model, by which memory is bounded; None: so many that
            they have a million numbers.

    Returns:
        `Attributions`.

    Raises:
        ValueError: an argument is not what it may be, `model` has no such layer or several, the
            layer does not look up tokens exactly once, or `target` is no index of the outputs.

    Example:

    >>> import keras, numpy as np
    >>> from kexue_keras import analysis
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.set_weights([np.array([[3.0], [-1.0]]), np.array([5.0])])
    >>> found = analysis.integrated_gradients(model, np.array([[2.0, 4.0]]), target=0)
    >>> found.attributions.round(3).tolist(), found.difference.round(3).tolist()
    ([[6.0, -4.0]], [2.0])

    Reference: https://kexue.fm/archives/7533; Sundararajan et al. 2017,
    https://arxiv.org/abs/1703.01365
    """
    if not isinstance(model, keras.Model):
        raise ValueError(f"`model` must be a `keras.Model`. Received: {model!r}")
    leaves, structure, size = _checked_inputs(inputs)
    points, weights = quadrature(rule, steps)
    if batch_size is not None and not (_is_int(batch_size) and batch_size >= 1):
        raise ValueError(f"`batch_size` must be at least 1. Received: {batch_size!r}")
    function, indices = _checked_target(target, size)
    if not model.built:
        model(tree.pack_sequence_as(structure, [x[:1] for x in leaves]), training=False)
    if embedding is None:
        if mask is not None:
            raise ValueError("`mask` must be None without `embedding`. Received: a mask")
        kind, starts, masks = None, _starts_of_inputs(baseline, leaves), []
        width = 1
    else:
        layer = backend.layer_of(model, embedding)
        kind, starts = _start_of_embeddings(baseline, layer, size)
        masks = [] if mask is None else [_with_batch("mask", np.asarray(mask, bool), size)]
        table = getattr(layer, "embeddings", None)
        width = 1 if table is None else table.shape[-1]
    program = path_program(model, embedding, function, structure)
    samples = min(size, _SAMPLES)
    longest = max(int(np.prod(x.shape[1:])) for x in leaves)
    rows = rows_of(samples, points, weights, batch_size or max(1, _NUMBERS // (longest * width)))
    parts = []
    for begin in range(0, size, samples):
        # the last part is filled up with its last sample, so that it has the shapes of the others
        chosen = np.minimum(np.arange(begin, begin + samples), size - 1)
        arrays = [[x[chosen] if len(x) == size else x for x in xs] for xs in (starts, masks)]
        part = [x[chosen] for x in leaves]
        if embedding is None:
            ends = arrays[0], [x for x in part if is_floating(x)]
        else:
            ends = program.embed(part, kind, *arrays)
        gradients, difference = program.integrate(part, *ends, indices[chosen], rows)
        moves = [end.astype("float32") - start for start, end in zip(*ends, strict=True)]
        found, count = (moves, gradients, difference), min(samples, size - begin)
        parts.append(tree.map_structure(lambda x, count=count: x[:count], found))
        _check_indices(target, indices, program.classes)
    moves, gradients, difference = tree.map_structure(lambda *x: np.concatenate(x), *parts)
    return _result(leaves, structure, embedding, moves, gradients, difference)


def _result(leaves, structure, embedding, moves, gradients, difference):
    shares = [move * gradient for move, gradient in zip(moves, gradients, strict=True)]
    total = sum(x.reshape(len(x), -1).sum(1, dtype="float64") for x in shares)
    error = np.abs(total - difference).astype("float32")
    if embedding is not None:
        (shares,), (gradients,) = shares, gradients
        tokens = shares.sum(-1, dtype="float64").astype("float32")
        return Attributions(shares, tokens, gradients, difference, error)

    def nested(found):
        found = iter(found)
        full = [next(found) if is_floating(x) else np.zeros(x.shape, "float32") for x in leaves]
        return tree.pack_sequence_as(structure, full)

    return Attributions(nested(shares), None, nested(gradients), difference, error)


def _is_int(x):
    return isinstance(x, (int, np.integer)) and not isinstance(x, bool)


def _checked_inputs(inputs):
    """Arrays in a flat list, what they were nested in, and the number of samples."""
    leaves = [keras.ops.convert_to_numpy(x) for x in tree.flatten(inputs)]
    sizes = {x.shape[0] if x.ndim else None for x in leaves}
    if len(sizes) != 1 or None in sizes or 0 in sizes:
        shapes = [x.shape for x in leaves]
        raise ValueError(
            "`inputs` must be arrays of the same number of samples, at least one. "
            f"Received: the shapes {shapes}"
        )
    leaves = [x.astype("float32") if x.dtype == "float64" else x for x in leaves]
    leaves = [x.astype("int32") if x.dtype == "int64" else x for x in leaves]
    return leaves, tree.map_structure(lambda x: 0, inputs), sizes.pop()


def _checked_target(target, size):
    """A callable or None, and int32 `(size,)`."""
    if callable(target):
        return target, np.zeros(size, "int32")
    indices = np.asarray(target)
    if indices.dtype.kind not in "iu" or indices.shape not in ((), (size,)):
        raise ValueError(
            f"`target` must be an int, {size} of them, or a callable. Received: {target!r}"
        )
    return None, np.broadcast_to(indices, (size,)).astype("int32")


def _check_indices(target, indices, classes):
    if classes is not None and not (0 <= indices.min() and indices.max() < classes):
        raise ValueError(f"`target` must be from 0 to {classes - 1}. Received: {target!r}")


def _starts_of_inputs(baseline, leaves):
    """Where the floating inputs begin, shaped as they are."""
    moving = [i for i, x in enumerate(leaves) if is_floating(x)]
    if not moving:
        raise ValueError(
            "`embedding` must name the layer that looks up the tokens, as no input is floating. "
            f"Received: {[str(x.dtype) for x in leaves]}"
        )
    if isinstance(baseline, str):
        raise ValueError(f"`baseline` must be None, a number or arrays. Received: {baseline!r}")
    if baseline is None or np.ndim(baseline) == 0 and not isinstance(baseline, dict):
        given = [np.float32(baseline or 0.0)] * len(leaves)
    else:
        given = tree.flatten(baseline)
        if len(given) != len(leaves):
            raise ValueError(
                f"`baseline` must be nested like `inputs`, {len(leaves)} arrays. "
                f"Received: {len(given)}"
            )
    starts = []
    for i in moving:
        start = np.asarray(given[i], "float32")
        try:
            starts.append(np.broadcast_to(start, leaves[i].shape))
        except ValueError as error:
            raise ValueError(
                f"`baseline` must have a shape that fits {leaves[i].shape}. Received: {start.shape}"
            ) from error
    return starts


def _start_of_embeddings(baseline, layer, size):
    """The kind of baseline, and a list of its array."""
    if baseline is None:
        return "zero", []
    table = getattr(layer, "embeddings", None)
    if isinstance(baseline, str):
        if baseline != "mean" or table is None:
            has = "" if table is not None else ", of a layer without a weight `embeddings`"
            raise ValueError(
                '`baseline` must be None, "mean", a token\'s id or an array. '
                f"Received: {baseline!r}{has}"
            )
        return "mean", []
    start = np.asarray(baseline)
    if start.dtype.kind not in "iuf" or isinstance(baseline, bool):
        raise ValueError(f"`baseline` must be numbers. Received: {baseline!r}")
    if start.dtype.kind == "f":
        if start.ndim < 2:
            raise ValueError(
                "`baseline` must be vectors of the shape (batch or 1, length, size), or ids. "
                f"Received: floating numbers of the shape {start.shape}"
            )
        return "array", [_with_batch("baseline", start.astype("float32"), size)]
    if table is not None and not (0 <= start.min() and start.max() < table.shape[0]):
        raise ValueError(
            f"`baseline` must be ids from 0 to {table.shape[0] - 1}. Received: {baseline!r}"
        )
    start = start.astype("int32")
    return "ids", [start.reshape(1, 1) if not start.ndim else _with_batch("baseline", start, size)]


def _with_batch(name, array, size):
    if array.ndim < 2 or array.shape[0] not in (1, size):
        raise ValueError(
            f"`{name}` must have a first axis of {size} samples or 1, then the tokens. "
            f"Received: the shape {array.shape}"
        )
    return array
