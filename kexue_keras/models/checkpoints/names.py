"""How families write down the names of their variables in Google's format."""


class Transposed(str):
    """Name of a kernel that is stored the other way round.

    Example:

    >>> Transposed("cls/seq_relationship/output_weights").startswith("cls")
    True
    """


def of_dense(*layers):
    """Kernel and bias of dense layers, one after another.

    Example:

    >>> of_dense("bert/pooler/dense")
    ['bert/pooler/dense/kernel', 'bert/pooler/dense/bias']
    """
    return [f"{layer}/{part}" for layer in layers for part in ("kernel", "bias")]


def of_norm(layer):
    """Offset and gain of a layer normalization, in bert4keras's order.

    Example:

    >>> of_norm("bert/embeddings/LayerNorm")
    ['bert/embeddings/LayerNorm/beta', 'bert/embeddings/LayerNorm/gamma']
    """
    return [f"{layer}/{part}" for part in ("beta", "gamma")]


def of_attention(inputs, output):
    """The four dense layers of an attention.

    Args:
        inputs: where query, key and value are.
        output: the output's dense layer.

    Example:

    >>> of_attention("self", "output/dense")[::2]
    ['self/query/kernel', 'self/key/kernel', 'self/value/kernel', 'output/dense/kernel']
    """
    return of_dense(*(f"{inputs}/{part}" for part in ("query", "key", "value")), output)
