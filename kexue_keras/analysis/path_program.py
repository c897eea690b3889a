"""The compiled programs behind `integrated_gradients`: gradients along paths, many rows at once."""

import collections
import weakref

import numpy as np
from keras import ops, tree

from kexue_keras import backend

# of every model that is alive its last programs
_programs = weakref.WeakKeyDictionary()
_KEPT = 8


def path_program(model, embedding, target, structure):
    """The program of a model, compiled once for every combination of shapes.

    Args:
        model: a built `keras.Model`.
        embedding: name of a layer, or None.
        target: callable of the outputs, or None for an index.
        structure: nested like the inputs.

    Returns:
        A `PathProgram`.
    """
    variables = [*model.trainable_variables, *model.non_trainable_variables]
    key = (embedding, target, str(structure), tuple(map(id, variables)))
    kept = _programs.setdefault(model, collections.OrderedDict())
    if key not in kept:
        kept[key] = PathProgram(model, variables, embedding, target, structure)
    kept.move_to_end(key)
    while len(kept) > _KEPT:
        kept.popitem(last=False)
    return kept[key]


class PathProgram:
    """Integrates the gradients of one model; made by `path_program`.

    Args:
        model, embedding, target, structure: see `path_program`. The model is not kept.
        variables: those that it reads.

    Attributes:
        classes: number of outputs to choose from, known after the first call; None where the
            target is a callable.
    """

    def __init__(self, model, variables, embedding, target, structure):
        self._model, self._variables = weakref.ref(model), variables
        self._embedding, self._target, self._structure = embedding, target, structure
        self.classes = None
        self._compiled = {}

    def embed(self, inputs, kind, baseline, mask):
        """Where the path of embeddings begins and ends.

        Args:
            inputs: list of arrays `(samples, ...)`.
            kind: what the path begins at: "zero", "mean", "ids" or "array".
            baseline: list of an array of ids, or of vectors; else empty.
            mask: list of a bool array, tokens that move along the path; or empty.

        Returns:
            Two lists of an array `(samples, length, size)`.
        """
        return self._run(self._embed, kind, inputs, baseline, mask)

    def integrate(self, inputs, starts, ends, indices, rows):
        """
        Args:
            inputs: list of arrays `(samples, ...)`.
            starts, ends: lists of arrays `(samples, ...)`: of the paths of the floating inputs, or
                of that of the embeddings.
            indices: int32 `(samples,)`, which outputs.
            rows: see `rows_of`.

        Returns:
            A list of the mean gradients, float32 `(samples, ...)`, and the difference of the
            outputs at both ends, float32 `(samples,)`.
        """
        return self._run(self._integrate, None, inputs, starts, ends, indices, rows)

    def _run(self, method, kind, *arguments):
        key = method.__name__, kind
        if key not in self._compiled:
            # what is compiled is kept by what it runs: it may not keep that in turn
            owner, name = weakref.ref(self), method.__name__

            def run(*arguments):
                return getattr(owner(), name)(kind, *arguments)

            self._compiled[key] = backend.jit(run, self._variables)
        found = self._compiled[key](*tree.map_structure(ops.convert_to_tensor, arguments))
        return tree.map_structure(ops.convert_to_numpy, found)

    def _integrate(self, _, inputs, starts, ends, indices, rows):
        model, inputs, rows = self._model(), list(inputs), dict(rows)
        moving = [i for i, x in enumerate(inputs) if is_floating(x)]
        layer = None if self._embedding is None else backend.layer_of(model, self._embedding)

        def outputs(chosen, points):
            if layer is None:
                places = dict(zip(moving, points, strict=True))
                return self._outputs([places.get(i, x) for i, x in enumerate(chosen)])

            def replace(call, *args, **kwargs):
                output = call(*args, **kwargs)
                return points[0] if is_lookup(args, kwargs, output) else output

            with backend.intercepted(layer, replace):
                return self._outputs(chosen)

        dtypes = [x.dtype for x in ends]
        starts, ends = ([ops.cast(x, "float32") for x in xs] for xs in (starts, ends))
        moves = [end - start for start, end in zip(starts, ends, strict=True)]

        def group(number, sums):
            gradients, difference = sums
            row = {name: ops.take(x, number, axis=0) for name, x in rows.items()}
            take = lambda x: ops.take(x, row["sample"], axis=0)  # noqa: E731
            points = [
                ops.cast(take(start) + like(row["point"], move) * take(move), dtype)
                for start, move, dtype in zip(starts, moves, dtypes, strict=True)
            ]
            chosen, index = [take(x) for x in inputs], take(indices)
            values, found = backend.value_and_input_gradients(
                lambda *points: self._select(outputs(chosen, points), index), points
            )

            def add(total, x):
                return total + ops.segment_sum(x, row["sample"], num_segments=total.shape[0])

            gradients = [
                add(total, like(row["weight"], x) * ops.cast(x, "float32"))
                for total, x in zip(gradients, found, strict=True)
            ]
            return gradients, add(difference, row["end"] * values)

        zeros = [ops.zeros_like(x) for x in moves], ops.zeros(indices.shape, "float32")
        return ops.fori_loop(0, rows["sample"].shape[0], group, zeros)

    def _outputs(self, inputs):
        return self._model()(tree.pack_sequence_as(self._structure, inputs), training=False)

    def _embed(self, kind, inputs, baseline, mask):
        layer, found = backend.layer_of(self._model(), self._embedding), []

        def look(call, *args, **kwargs):
            output = call(*args, **kwargs)
            if is_lookup(args, kwargs, output):
                ids = first(args, kwargs)
                start = _start(layer, call, ids, output, kind, baseline)
                moved = mask[0] if mask else layer.compute_mask(ids, None)
                if moved is not None:
                    moved = ops.broadcast_to(ops.cast(moved, "bool"), output.shape[:-1])
                    start = ops.where(ops.expand_dims(moved, -1), start, output)
                found.append(([start], [output]))
            return output

        with backend.intercepted(layer, look):
            self._outputs(list(inputs))
        if len(found) != 1:
            raise ValueError(
                "`embedding` must be a layer that looks up tokens, `(batch, length)` to "
                "`(batch, length, size)`, once. "
                f"Received: {layer.name!r}, which does so {len(found)} times"
            )
        return found[0]

    def _select(self, outputs, index):
        """The output that is explained, float32 `(rows,)`."""
        if self._target is not None:
            values = ops.convert_to_tensor(self._target(outputs))
        elif len(tree.flatten(outputs)) > 1 or len(tree.flatten(outputs)[0].shape) > 2:
            shapes = [tuple(x.shape) for x in tree.flatten(outputs)]
            raise ValueError(
                "`target` must be a callable for a model whose output is not `(batch,)` or "
                f"`(batch, outputs)`. Received: an index, and outputs of the shapes {shapes}"
            )
        else:
            values = tree.flatten(outputs)[0]
            self.classes = values.shape[1] if len(values.shape) == 2 else 1
            if len(values.shape) == 2:
                values = ops.take_along_axis(values, ops.expand_dims(index, 1), axis=1)[:, 0]
        if tuple(values.shape) != tuple(index.shape):
            raise ValueError(
                "`target` must make a value of every row of the outputs. "
                f"Received: shape {tuple(values.shape)} for {index.shape[0]} rows"
            )
        return ops.cast(values, "float32")


def _start(layer, call, ids, output, kind, baseline):
    """Vectors at which the path of embeddings begins, shaped as the `output`."""
    if kind == "zero":
        return ops.zeros_like(output)
    if kind == "ids":
        start = call(ops.broadcast_to(ops.cast(baseline[0], "int32"), ids.shape))
    elif kind == "mean":
        start = ops.mean(ops.cast(layer.embeddings, "float32"), axis=0)
    else:
        start = baseline[0]
    return ops.broadcast_to(ops.cast(start, output.dtype), output.shape)


def rows_of(samples, points, weights, size):
    """What the rows of the program's passes are: every sample at every point, and at both ends.

    Args:
        samples: their number.
        points, weights: of the integral.
        size: most rows of a pass.

    Returns:
        Dict of arrays `(passes, rows)`: `sample`, int32, the number of the sample; `point`, how far
        along the path; `weight`, of the gradient; `end`, 1 at the input, -1 at the baseline.

    >>> found = rows_of(1, np.array([0.5]), np.array([1.0]), 2)
    >>> found["point"].tolist(), found["weight"].tolist(), found["end"].tolist()
    ([[0.5, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]], [[0.0, -1.0], [1.0, 0.0]])
    """
    total = samples * (len(points) + 2)
    passes = -(-total // size)
    length = -(-total // passes)
    columns = {
        "sample": np.tile(np.arange(samples), len(points) + 2),
        "point": np.repeat([*points, 0.0, 1.0], samples),
        "weight": np.repeat([*weights, 0.0, 0.0], samples),
        "end": np.repeat([*np.zeros(len(points)), -1.0, 1.0], samples),
    }
    return {
        name: np.pad(column, (0, passes * length - total))
        .reshape(passes, length)
        .astype("int32" if name == "sample" else "float32")
        for name, column in columns.items()
    }


def is_floating(x):
    """Whether an array or tensor has a floating dtype."""
    return "float" in str(x.dtype)


def like(row, x):
    """`(rows,)` as `(rows, 1, ...)`, to multiply `x` by."""
    return ops.reshape(row, (-1, *[1] * (len(x.shape) - 1)))


def first(args, kwargs):
    """The first argument of a call."""
    return args[0] if args else next(iter(kwargs.values()))


def is_lookup(args, kwargs, output):
    """Whether a call of a layer turned `(batch, length)` into `(batch, length, size)`; a tied
    embedding that scores the vocabulary does not."""
    return len(output.shape) == len(first(args, kwargs).shape) + 1
