"""Tables of figures: as text, with mean and spread over the seeds, and drawn.

No deep-learning framework is imported.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from kexue_keras.files import replacing


class Figure(NamedTuple):
    """How a figure is shown."""

    title: str
    """Of its column, with the unit."""
    scale: float = 100.0
    """Factor; 100 for per cent."""
    digits: int = 2
    """Behind the point."""


def describe(figures: Mapping[str, float], shown: Mapping[str, Figure]) -> str:
    """The figures of a cell in one line.

    Example:

    >>> describe({"f1": 0.5, "seconds": 3.0}, {"f1": Figure("F1, %")})
    'F1, % 50.00'
    """
    texts = (
        f"{figure.title} {figure.scale * figures[name]:.{figure.digits}f}"
        for name, figure in shown.items()
        if name in figures
    )
    return ", ".join(texts)


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


def row_of(figures: Sequence[Mapping[str, float]], shown: Mapping[str, Figure]) -> list[str]:
    """The columns of a row: mean and spread over the seeds of every figure.

    Example:

    >>> row_of([{"f1": 0.5}, {"f1": 0.6}], {"f1": Figure("F1"), "seconds": Figure("seconds")})
    ['55.00 ± 7.07', '']
    """
    return [
        mean_and_spread([seed[name] for seed in figures if name in seed], *form[1:])
        for name, form in shown.items()
    ]


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
    cells: Mapping[str, Sequence[Mapping[str, float]]],
    shown: Mapping[str, Figure],
    picture: str | Path,
) -> str:
    """Table with a column for each figure, mean and spread over the seeds; also drawn.

    Args:
        cells: name of a row to the figures of its seeds.
        shown: name of a figure to how it is shown; those that no seed has are left out.
        picture: the file to draw the table into, its figures times 100.

    Returns:
        A Markdown table.
    """
    present = {name for row in cells.values() for figures in row for name in figures}
    shown = {name: figure for name, figure in shown.items() if name in present}
    titles = [form.title for form in shown.values()]
    points = {
        row: [[seed[name] for seed in figures if name in seed] for name in shown]
        for row, figures in cells.items()
    }
    draw_table(picture, titles, points, "x 100")
    rows = [[name, *row_of(figures, shown)] for name, figures in cells.items()]
    return markdown_table(["", *titles], rows)


def show_columns(
    corner: str,
    columns: Sequence[str],
    rows: Mapping[str, Sequence[Sequence[float]]],
    label: str,
    picture: str | Path,
) -> None:
    """Prints a table of one figure, times 100, mean and spread over the seeds; draws it, too.

    Args:
        corner: what the rows are.
        columns, rows, label: see `draw_table`.
        picture: the file to draw the table into.
    """
    draw_table(picture, columns, rows, label)
    lines = [[name, *map(mean_and_spread, values)] for name, values in rows.items()]
    print(markdown_table([corner, *columns], lines))


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
        rows: name to one list of values (of the seeds) per column, drawn times 100; an empty one is
            left out.
        label: of the axis, with the unit.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 + 1.5 * len(columns), 4), layout="constrained")
    axes = figure.subplots()
    for i, (name, cells) in enumerate(rows.items()):
        found = [(j, values) for j, values in enumerate(cells) if values]
        x = [j + (i - (len(rows) - 1) / 2) * 0.8 / len(rows) for j, _ in found]
        y = [100 * statistics.fmean(values) for _, values in found]
        spread = [100 * _deviation(values) for _, values in found]
        axes.errorbar(x, y, spread, marker="o", linestyle="none", label=name)
    axes.set(xticks=range(len(columns)), xticklabels=columns, ylabel=label)
    axes.legend(fontsize="small")
    with replacing(path) as temporary:
        figure.savefig(temporary)
