"""The best weights of the methods of a comparison, with what they are beside them.

No deep-learning framework is imported.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kexue_keras.experiments.options import as_stored, options_of, read_json
from kexue_keras.files import replacing, write_text

_ENDING = ".weights.h5"


def save_weights(path: str | Path, model: Any, description: Mapping) -> None:
    """Writes the weights of a Keras model, and a JSON file of what they are beside them.

    Args:
        path: ends with `.weights.h5`; its directory is made. The JSON file has `.json` in that
            place; it is written last, and an older one deleted first, so that it never describes
            other weights.
        model: anything with a method `save_weights`.
        description: dict of JSON types.
    """
    _beside(path).unlink(missing_ok=True)
    with replacing(path) as temporary:
        model.save_weights(temporary)
    text = json.dumps(description, ensure_ascii=False, indent=1)
    write_text(_beside(path), text + "\n")


def weights_description(path: str | Path) -> dict | None:
    """What `save_weights` was told of these weights; None if it did not finish writing them.

    Example:

    >>> weights_description("runs/none.weights.h5") is None
    True
    """
    path = _beside(path)
    return read_json(path) if path.exists() else None


def _beside(path):
    path = Path(path)
    return path.with_name(path.name.removesuffix(_ENDING) + ".json")


def keep_best(
    config: Any,
    free: Sequence[str],
    name: str,
    model: Any,
    value: float,
    before: float | None,
    **description: Any,
) -> None:
    """Writes the weights of a seed, with the options, if no other seed's are better.

    Args:
        config: the options of the recipe, with `output`, where `<name>.weights.h5` is written.
        free: names of options that the weights do not depend on.
        name: of the method.
        model: anything with a method `save_weights`.
        value: this seed's figure, the larger the better.
        before: the best figure of the others; None if there is none.
        description: what is needed beside the options to use the weights, of JSON types.
    """
    if before is None or value > before:
        description = {"method": name, **description, "config": options_of(config, free)}
        save_weights(config.output / f"{name}{_ENDING}", model, description)


class Trained(NamedTuple):
    """Weights that `keep_best` wrote."""

    path: Path
    """The weights."""
    description: dict
    """What was said of them."""
    config: Any
    """The options that they were trained with."""


def trained_weights(config: Any, free: Sequence[str]) -> list[Trained]:
    """The weights in `output` of those `methods` that have some, in the order of `methods`.

    Args:
        config: the options of the recipe.
        free: see `keep_best`; these are as `config` has them.

    Raises:
        FileNotFoundError: there are none.
    """
    found = []
    for path in sorted(config.output.glob(f"*{_ENDING}")):
        if (description := weights_description(path)) is not None:
            description = {"method": path.name.removesuffix(_ENDING), **description}
            if description["method"] in config.methods:
                old = as_stored(config, description["config"], free)
                found.append(Trained(path, description, old))
    if not found:
        raise FileNotFoundError(f"`output` {config.output} has no trained weights; train first")
    return sorted(found, key=lambda trained: config.methods.index(trained.description["method"]))
