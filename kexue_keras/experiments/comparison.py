"""Comparisons over several seeds: measured cell by cell, kept in a file.

No deep-learning framework is imported.
"""

import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kexue_keras.experiments.options import UsageError, options_of
from kexue_keras.experiments.tables import Figure, describe, summarize
from kexue_keras.files import write_text

Figures = dict[str, float]
Plain = str | int | float | bool | None


def compare_methods(
    config: Any,
    free: Sequence[str],
    function: Callable[..., Mapping[str, float]],
    shown: Mapping[str, Figure],
) -> None:
    """Measures `methods` x `seeds` of the options; prints the table and draws it.

    Args:
        config: `options.Table`; figures go to `results.json` in its `output`, the picture to
            `table.png`.
        free: names of options that the figures do not depend on.
        function: takes the `Experiment`, `method` and `seed`, returns the figures.
        shown: name of a figure to how it is shown.
    """
    experiment = Experiment(config.output / "results.json", options_of(config, free))
    found = experiment.measure_all(
        {method: {"method": method} for method in config.methods},
        config.seeds,
        functools.partial(function, experiment),
        shown,
    )
    print(summarize(found, shown, config.output / "table.png"))


class Experiment:
    """Figures of cells, each named by its options, in a file that is whole after any interruption.

    What is in the file is not measured again, so the same program, started a second time, goes on
    with the cell in which it was stopped. The file is written under a temporary name and renamed.

    Args:
        path: JSON file, made with the first cell; its directory, too.
        config: dict, of JSON types, of what all cells depend on. A file with cells of another
            configuration is refused.

    Raises:
        UsageError: if the file is not one of an experiment, or holds cells of another `config`.

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

    def get(self, **options: Plain) -> Figures | None:
        """Figures of the cell with exactly these options; None if it is not measured."""
        for cell in self._cells:
            if cell["options"] == options:
                return dict(cell["figures"])
        return None

    def keep(self, figures: Mapping[str, float], **options: Plain) -> None:
        """Writes the figures of a cell to the file, in the place of older ones."""
        for name, value in options.items():
            if not isinstance(value, Plain):
                raise ValueError(f"option `{name}` must be a string or number. Received: {value!r}")
        figures = {name: float(value) for name, value in figures.items()}
        cells = [cell for cell in self._cells if cell["options"] != options]
        cells.append({"options": options, "figures": figures})
        text = json.dumps({"config": self.config, "cells": cells}, ensure_ascii=False, indent=1)
        write_text(self.path, text + "\n")
        self._cells = cells

    def measure(self, function: Callable[[], Mapping[str, float]], **options: Plain) -> Figures:
        """Figures of the cell; `function()` gives them if it is not measured yet."""
        if self.get(**options) is None:
            self.keep(function(), **options)
        return self.get(**options)

    def report(
        self,
        name: str,
        function: Callable[..., Mapping[str, float]],
        shown: Mapping[str, Figure],
        **options: Plain,
    ) -> None:
        """Measures a cell if it is not measured yet, and prints its figures.

        Args:
            name: of the cell, for printing.
            function: takes the options, returns the figures.
            shown: name of a figure to how it is shown.
            options: of the cell.
        """
        if self.get(**options) is None:
            self.keep(function(**options), **options)
            print(f"{name}: {describe(self.get(**options), shown)}", flush=True)

    def measure_all(
        self,
        rows: Mapping[str, Mapping[str, Plain]],
        seeds: Sequence[int],
        function: Callable[..., Mapping[str, float]],
        shown: Mapping[str, Figure],
    ) -> dict[str, list[Figures]]:
        """Measures the cells of a table one by one; prints what was not measured yet.

        Args:
            rows: name of a row to its options, without the seed.
            seeds: the option `seed` of the cells of a row.
            function: takes the options, `seed` among them, returns the figures.
            shown: name of a figure to how it is shown.

        Returns:
            Name of a row to the figures of its seeds.
        """
        for name, options in rows.items():
            for seed in seeds:
                self.report(f"{name}, seed {seed}", function, shown, **options, seed=seed)
        return {
            name: [self.get(**options, seed=seed) for seed in seeds]
            for name, options in rows.items()
        }

    def best(self, figure: str, **options: Plain) -> float | None:
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
            raise UsageError(f"{self.path} does not hold an experiment: {error!r}") from error
        for name in sorted(names):
            if config.get(name) != self.config.get(name):
                raise UsageError(
                    f"{self.path} holds results with `{name}` = {config.get(name)!r}; use another "
                    f"`output`. Received: {self.config.get(name)!r}"
                )
        return cells
