"""Layers whose outputs are others inside a context, wherever a model calls them."""

import contextlib


@contextlib.contextmanager
def intercepted(layer, function):
    """A context in which a layer computes what `function` makes of its call.

    Masks, dtypes and all else that Keras does around a call stay as they are. What is compiled
    inside keeps what `function` did then.

    Args:
        layer: a built layer, called by a model wherever it is nested.
        function: takes the layer's own `call` and the arguments of the call, returns the output.

    >>> import keras
    >>> layer = keras.layers.Embedding(3, 2)
    >>> layer.build()
    >>> with intercepted(layer, lambda call, ids: 0.0 * call(ids) + 5.0):
    ...     inside = layer(keras.ops.array([1]))
    >>> inside.tolist() if hasattr(inside, "tolist") else inside.numpy().tolist()
    [[5.0, 5.0]]
    """
    call, outer = layer.call, vars(layer).get("call")
    # an instance's attribute stands before the method of its class; Keras tracks no function here
    vars(layer)["call"] = lambda *args, **kwargs: function(call, *args, **kwargs)
    try:
        yield
    finally:
        if outer is None:
            del vars(layer)["call"]
        else:
            vars(layer)["call"] = outer
