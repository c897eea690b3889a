"""Tables of figures over several seeds: measured cell by cell, kept in a file, shown and drawn.

No deep-learning framework is imported.
"""

import dataclasses
import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kexue_keras.files import replacing, write_text

Figures = dict[str, float]
_PLAIN = str | int | float | bool | None


class Experiment:
    """Figures of cells, each named by its options, in a file that is whole after any interruption.

    What is in the file is not measured again, so the same program, started a second time, goes on
    with the cell in which it was stopped. The file is written under a temporary name and renamed.

    Args:
        path: JSON file, made with the first cell; its directory, too.
        config: dict, of JSON types, of what all cells depend on. A file with cells of another
            configuration is refused.

    Raises:
        ValueError: if the file is not one of an experiment, or holds cells of another `config`.

    Example:

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "results.json"
    >>> def train():
    ...     print("training")
    ...     return {"accuracy": 0.75}
    >>> for _ in range(2):
    ...     experiment = Experiment(path, {"epochs": 3})
    ...     print(experiment.measure(train, method="new", seed=0))
    training
    {'accuracy': 0.75}
    {'accuracy': 0.75}
    """

    def __init__(self, path: str | Path, config: Mapping):
        self.path = Path(path)
        self.config = json.loads(json.dumps(config))
        self._cells = self._read()

    def get(self, **options: _PLAIN) -> Figures | None:
        """Figures of the cell with exactly these options; None if it is not measured."""
        for cell in self._cells:
            if cell["options"] == options:
                return dict(cell["figures"])
        return None

    def keep(self, figures: Mapping[str, float], **options: _PLAIN) -> None:
        """Writes the figures of a cell to the file, in the place of older ones."""
        for name, value in options.items():
            if not isinstance(value, _PLAIN):
                raise ValueError(f"option `{name}` must be a string or number. Received: {value!r}")
        figures = {name: float(value) for name, value in figures.items()}
        cells = [cell for cell in self._cells if cell["options"] != options]
        cells.append({"options": options, "figures": figures})
        text = json.dumps({"config": self.config, "cells": cells}, ensure_ascii=False, indent=1)
        write_text(self.path, text + "\n")
        self._cells = cells

    def measure(self, function: Callable[[], Mapping[str, float]], **options: _PLAIN) -> Figures:
        """Figures of the cell; `function()` gives them if it is not measured yet."""
        if self.get(**options) is None:
            self.keep(function(), **options)
        return self.get(**options)

    def best(self, figure: str, **options: _PLAIN) -> float | None:
        """The highest `figure` of the cells that have these options and perhaps more.

        Cells without the figure, or whose figure is not a number, do not count; None if none does.
        """
        values = [
            cell["figures"][figure]
            for cell in self._cells
            if options.items() <= cell["options"].items() and figure in cell["figures"]
        ]
        return max((value for value in values if not math.isnan(value)), default=None)

    def _read(self) -> list[dict]:
        if not self.path.exists():
            return []
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            config, cells = content["config"], content["cells"]
            names = {*config, *self.config}
            for cell in cells:
                if not (isinstance(cell["options"], dict) and isinstance(cell["figures"], dict)):
                    raise TypeError(f"cell {cell!r}")
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.path} does not hold an experiment: {error!r}") from error
        for name in sorted(names):
            if config.get(name) != self.config.get(name):
                raise ValueError(
                    f"{self.path} holds results with `{name}` = {config.get(name)!r}; use another "
                    f"`output`. Received: {self.config.get(name)!r}"
                )
        return cells


def save_weights(path: str | Path, model, description: Mapping) -> None:
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


def about(path: str | Path) -> dict | None:
    """What `save_weights` was told of these weights; None if it did not finish writing them.

    Example:

    >>> about("runs/none.weights.h5") is None
    True
    """
    description = _beside(path)
    return json.loads(description.read_text(encoding="utf-8")) if description.exists() else None


def _beside(path):
    path = Path(path)
    return path.with_name(path.name.removesuffix(".weights.h5") + ".json")


def trained(directory: str | Path, names: Sequence[str]) -> dict[str, tuple[Path, dict]]:
    """Those of the names that `save_weights` wrote into a directory, as `<name>.weights.h5`.

    Returns:
        Name to the path of the weights and to what is said about them.

    Raises:
        FileNotFoundError: there are none.
    """
    paths = {name: Path(directory) / f"{name}.weights.h5" for name in names}
    found = {
        name: (path, description)
        for name, path in paths.items()
        if (description := about(path)) is not None
    }
    if not found:
        raise FileNotFoundError(f"`output` {directory} has no trained weights; train first")
    return found


def options_of(config, leave_out: Sequence[str] = ()) -> dict:
    """The fields of a dataclass in JSON types, paths as text.

    Args:
        config: an instance.
        leave_out: names of fields that do not matter.

    Example:

    >>> config = dataclasses.make_dataclass("Config", ["epochs", "output"])(3, Path("runs"))
    >>> options_of(config), options_of(config, ["output"])
    ({'epochs': 3, 'output': 'runs'}, {'epochs': 3})
    """
    options = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    return {name: value for name, value in options.items() if name not in leave_out}


def check_least(config, **least: float) -> None:
    """Checks options of a recipe, before anything is computed with them.

    Args:
        config: anything that has the options as attributes, numbers or tuples of numbers.
        least: name of an option to its smallest value.

    Raises:
        ValueError: an option is smaller, or a tuple is empty; names it.

    Example:

    >>> import types
    >>> check_least(types.SimpleNamespace(epochs=0, seeds=(0, 1)), seeds=0, epochs=1)
    Traceback (most recent call last):
    ValueError: `epochs` must be at least 1. Received: 0
    """
    for name, smallest in least.items():
        value = getattr(config, name)
        values = value if isinstance(value, tuple) else (value,)
        if not values or not all(x >= smallest for x in values):
            raise ValueError(f"`{name}` must be at least {smallest}. Received: {value}")


def mean_and_spread(values: Sequence[float], scale: float = 100.0, digits: int = 2) -> str:
    """Mean and standard deviation (that of a sample, n - 1) as text.

    Args:
        values: one per seed; without any, the text is empty, and of a single one there is no
            spread.
        scale: factor; 100 for per cent.
        digits: behind the point.

    Example:

    >>> mean_and_spread([0.5, 0.6]), mean_and_spread([0.5]), mean_and_spread([])
    ('55.00 ± 7.07', '50.00', '')
    """
    if not values:
        return ""
    text = f"{scale * statistics.fmean(values):.{digits}f}"
    if len(values) > 1:
        text += f" ± {scale * _deviation(values):.{digits}f}"
    return text


def _deviation(values: Sequence[float]) -> float:
    """Standard deviation of a sample; 0 of one value, NaN if a value is not finite."""
    if not all(map(math.isfinite, values)):
        return math.nan
    return statistics.stdev(values) if len(values) > 1 else 0.0


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines of a Markdown table.

    Raises:
        ValueError: if a row has another length than the header.

    Example:

    >>> print(markdown_table(["method", "accuracy"], [["new", "55.00"]]))
    | method | accuracy |
    |---|---|
    | new | 55.00 |
    """
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"`rows` must have {len(header)} columns. Received: {list(row)}")
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])


def summarize(
    cells: Mapping[str, Sequence[Figures]], titles: Mapping[str, str], picture: str | Path
) -> str:
    """Table of mean and spread over the seeds, times 100, also drawn.

    Args:
        cells: name of a row to the figures of its seeds.
        titles: name of a figure to the title of its column; those that no seed has are left out.
        picture: the file to draw the table into.

    Returns:
        A Markdown table.
    """
    names = [n for n in titles if any(n in figures for row in cells.values() for figures in row)]
    values = {
        name: [[100 * figures[n] for figures in row if n in figures] for n in names]
        for name, row in cells.items()
    }
    titles = [titles[n] for n in names]
    draw_table(picture, titles, values, "x 100")
    rows = [[name, *(mean_and_spread(v, scale=1) for v in row)] for name, row in values.items()]
    return markdown_table(["", *titles], rows)


def draw_table(
    path: str | Path,
    columns: Sequence[str],
    rows: Mapping[str, Sequence[Sequence[float]]],
    label: str,
) -> None:
    """Draws the columns of a table side by side: a point for each row, with its spread.

    Args:
        path: the picture to write, such as `table.png`.
        columns: their names.
        rows: name to one list of values (of the seeds) per column; an empty one is left out.
        label: of the axis, with the unit.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 + 1.5 * len(columns), 4), layout="constrained")
    axes = figure.subplots()
    for i, (name, cells) in enumerate(rows.items()):
        found = [(j, values) for j, values in enumerate(cells) if values]
        x = [j + (i - (len(rows) - 1) / 2) * 0.8 / len(rows) for j, _ in found]
        y = [statistics.fmean(values) for _, values in found]
        spread = [_deviation(values) for _, values in found]
        axes.errorbar(x, y, spread, marker="o", linestyle="none", label=name)
    axes.set(xticks=range(len(columns)), xticklabels=columns, ylabel=label)
    axes.legend(fontsize="small")
    with replacing(path) as temporary:
        figure.savefig(temporary)
