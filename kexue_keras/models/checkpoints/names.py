"""How families write down the names of their variables in the formats of others.

A name is a string. Where a file stores the array in another form than the model's variable, or
under one of several names, the string is one of the classes here; they may be nested, as
`Transposed(Either("lm_head.weight", "shared.weight"))`.
"""

import numpy as np


class StoredName(str):
    """Name of an array that is not stored as the model has it.

    Args:
        name: a name, perhaps one of these again.
    """

    def __new__(cls, name):
        self = super().__new__(cls, name)
        self.inner = name
        return self

    def __getnewargs__(self):
        return (self.inner,)

    def shape(self, stored):
        """Shape in the model of an array of shape `stored` in the file."""
        return stored

    def to_model(self, array):
        """The array of the model of that of the file."""
        return array

    def to_file(self, array):
        """The array of the file of that of the model."""
        return array


class Transposed(StoredName):
    """Name of a kernel that is stored the other way round.

    Example:

    >>> Transposed("cls/seq_relationship/output_weights").startswith("cls")
    True
    """

    def shape(self, stored):
        return stored[::-1]

    def to_model(self, array):
        return array.T

    def to_file(self, array):
        return np.ascontiguousarray(array.T)


class Part(StoredName):
    """Name of an array of which the model has one of equal parts of the last axis.

    Args:
        name: as of `StoredName`.
        index, count: which part, from 0, and of how many.

    Example:

    >>> Part("h.0.attn.c_attn.bias", 1, 3).to_model(np.arange(6))
    array([2, 3])
    """

    def __new__(cls, name, index, count):
        self = super().__new__(cls, name)
        self.index, self.count = index, count
        return self

    def __getnewargs__(self):
        return (self.inner, self.index, self.count)

    def shape(self, stored):
        if not stored or stored[-1] % self.count:
            return stored
        return (*stored[:-1], stored[-1] // self.count)

    def to_model(self, array):
        return np.split(array, self.count, axis=-1)[self.index]


class Rows(StoredName):
    """Name of a table of which the model has the rows from one on.

    Args:
        name: as of `StoredName`.
        start: number of rows that are left out; written, they are zero.

    Example:

    >>> Rows("embeddings.position_embeddings.weight", 2).shape((514, 768))
    (512, 768)
    """

    def __new__(cls, name, start):
        self = super().__new__(cls, name)
        self.start = start
        return self

    def __getnewargs__(self):
        return (self.inner, self.start)

    def shape(self, stored):
        return (max(0, stored[0] - self.start), *stored[1:]) if stored else stored

    def to_model(self, array):
        return array[self.start :]

    def to_file(self, array):
        return np.concatenate([np.zeros((self.start, *array.shape[1:]), array.dtype), array])


class Either(StoredName):
    """Name of an array that some files have under others.

    Args:
        name: as of `StoredName`; the one that is written.
        *others: the names that are looked for where `name` is not there.

    Example:

    >>> list(names_of(Transposed(Either("lm_head.weight", "shared.weight"))))
    ['lm_head.weight', 'shared.weight']
    """

    def __new__(cls, name, *others):
        self = super().__new__(cls, name)
        self.others = others
        return self

    def __getnewargs__(self):
        return (self.inner, *self.others)


def forms_of(name):
    """The forms that a name is nested in, the outermost first.

    Example:

    >>> [type(form).__name__ for form in forms_of(Transposed(Part("a", 0, 3)))]
    ['Transposed', 'Part']
    """
    while isinstance(name, StoredName):
        yield name
        name = name.inner


def names_of(name):
    """All names that an array may have in a file, the first of them written."""
    yield str(name)
    for form in forms_of(name):
        yield from getattr(form, "others", ())


def part_of(name):
    """The `Part` in a name, or None."""
    return next((form for form in forms_of(name) if isinstance(form, Part)), None)


def model_shape(name, stored):
    """Shape in the model of an array of shape `stored` in the file.

    Example:

    >>> model_shape(Transposed("a"), (2, 8)), model_shape("b", (2, 8))
    ((8, 2), (2, 8))
    """
    for form in reversed(list(forms_of(name))):
        stored = form.shape(stored)
    return tuple(stored)


def to_model(name, array):
    """The array as the model has it, of that of the file."""
    for form in reversed(list(forms_of(name))):
        array = form.to_model(array)
    return array


def to_file(name, array):
    """The array as the file has it, of that of the model; of a `Part`, that part."""
    for form in forms_of(name):
        array = form.to_file(array)
    return array


def of_dense(*layers):
    """Kernel and bias of dense layers, one after another, in Google's names.

    Example:

    >>> of_dense("bert/pooler/dense")
    ['bert/pooler/dense/kernel', 'bert/pooler/dense/bias']
    """
    return [f"{layer}/{part}" for layer in layers for part in ("kernel", "bias")]


def of_norm(layer):
    """Offset and gain of a layer normalization, in bert4keras's order and Google's names.

    Example:

    >>> of_norm("bert/embeddings/LayerNorm")
    ['bert/embeddings/LayerNorm/beta', 'bert/embeddings/LayerNorm/gamma']
    """
    return [f"{layer}/{part}" for part in ("beta", "gamma")]


def of_attention(inputs, output):
    """The four dense layers of an attention, in Google's names.

    Args:
        inputs: where query, key and value are.
        output: the output's dense layer.

    Example:

    >>> of_attention("self", "output/dense")[::2]
    ['self/query/kernel', 'self/key/kernel', 'self/value/kernel', 'output/dense/kernel']
    """
    return of_dense(*(f"{inputs}/{part}" for part in ("query", "key", "value")), output)


def of_linear(*layers, bias=True):
    """Kernel and bias of PyTorch's `nn.Linear`, which keeps kernels the other way round.

    Args:
        *layers: names of the layers.
        bias: whether they have biases.

    Example:

    >>> of_linear("pooler.dense")
    ['pooler.dense.weight', 'pooler.dense.bias']
    """
    return [
        name
        for layer in layers
        for name in (Transposed(f"{layer}.weight"), *([f"{layer}.bias"] if bias else []))
    ]


def of_conv1d(*layers):
    """Kernel and bias of Hugging Face's `Conv1D`, whose kernels are as ours.

    Example:

    >>> of_conv1d("h.0.mlp.c_fc")
    ['h.0.mlp.c_fc.weight', 'h.0.mlp.c_fc.bias']
    """
    return [f"{layer}.{part}" for layer in layers for part in ("weight", "bias")]


def of_layer_norm(layer):
    """Offset and gain of PyTorch's `nn.LayerNorm`, in bert4keras's order.

    Example:

    >>> of_layer_norm("embeddings.LayerNorm")
    ['embeddings.LayerNorm.bias', 'embeddings.LayerNorm.weight']
    """
    return [f"{layer}.{part}" for part in ("bias", "weight")]
