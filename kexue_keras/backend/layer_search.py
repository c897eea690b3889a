"""The layers inside a model, by name."""

import difflib


def layers_of(model):
    """All layers inside a model or layer, those of nested models too; a list, each layer once."""
    found = model._flatten_layers(include_self=False, recursive=True)
    return list({id(layer): layer for layer in found}.values())


def layer_of(model, name):
    """The one layer of that name, wherever it is nested; a ValueError if there is none, or two."""
    found = [layer for layer in layers_of(model) if layer.name == name]
    if len(found) != 1:
        names = sorted({layer.name for layer in layers_of(model)})
        close = difflib.get_close_matches(str(name), names, n=3)
        hint = f" (close to it: {', '.join(close)})" if close and not found else ""
        raise ValueError(
            f"`model` must have exactly one layer of the name {name!r}. "
            f"Received: {model.name!r} with {len(found)}{hint}"
        )
    return found[0]


def layer_behind(tensor):
    """The layer that a symbolic tensor comes from."""
    return tensor._keras_history.operation


def layers_before(layer):
    """The layers whose outputs a layer had as inputs when it was first called symbolically."""
    nodes = layer._inbound_nodes[0].parent_nodes if layer._inbound_nodes else ()
    return [node.operation for node in nodes]


def output_at(layer, index):
    """What a layer gave at its call of that number, a symbolic tensor or a list of them."""
    calls = layer._inbound_nodes
    if not -len(calls) <= index < len(calls):
        raise ValueError(
            f"`index` must number one of the {len(calls)} calls of layer {layer.name!r}. "
            f"Received: {index}"
        )
    outputs = calls[index].outputs
    return outputs[0] if len(outputs) == 1 else outputs
