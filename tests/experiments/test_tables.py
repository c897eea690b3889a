"""Tables: means and spreads, as text and drawn."""

import numpy as np
import pytest

from kexue_keras.experiments.tables import (
    Figure,
    describe,
    draw_table,
    markdown_table,
    mean_and_spread,
    show_columns,
    summarize,
)

pytestmark = pytest.mark.once


@pytest.mark.parametrize("count", [2, 3, 7])
def test_mean_and_spread_against_numpy(count):
    values = np.random.default_rng(count).normal(size=count).tolist()
    expected = f"{10 * np.mean(values):.3f} ± {10 * np.std(values, ddof=1):.3f}"
    assert mean_and_spread(values, scale=10, digits=3) == expected


def test_table_as_text():
    table = markdown_table(["", "a", "b"], [["x", "1", "2"], ["y", "", "3"]])
    assert table.splitlines() == ["|  | a | b |", "|---|---|---|", "| x | 1 | 2 |", "| y |  | 3 |"]
    with pytest.raises(ValueError, match=r"`rows` must have 2 columns. Received: \['x'\]"):
        markdown_table(["", "a"], [["x"]])


def test_table_as_picture(tmp_path):
    rows = {"m": [[0.5, 0.6], []], "n": [[0.4], [0.3, 0.2, 0.1]]}
    draw_table(tmp_path / "new" / "table.png", ["a", "b"], rows, "accuracy, %")
    assert (tmp_path / "new" / "table.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_summary_of_cells(tmp_path):
    cells = {
        "m": [{"a": 0.5, "b": 0.1}, {"a": 0.6, "b": 0.3}],
        "n": [{"a": 0.25}],
    }
    titles = {"b": Figure("second"), "a": Figure("first"), "c": Figure("third")}
    table = summarize(cells, titles, tmp_path / "table.png")
    a, b = np.array([50, 60]), np.array([10, 30])
    assert table.splitlines() == [
        "|  | second | first |",
        "|---|---|---|",
        f"| m | {b.mean():.2f} ± {b.std(ddof=1):.2f} | {a.mean():.2f} ± {a.std(ddof=1):.2f} |",
        "| n |  | 25.00 |",
    ]
    assert (tmp_path / "table.png").stat().st_size > 1000


def test_a_figure_that_is_not_a_number_is_shown(tmp_path):
    figures = [{"f1": 0.5}, {"f1": float("nan")}]
    table = summarize({"new": figures}, {"f1": Figure("F1")}, tmp_path / "table.png")
    assert table.endswith("| new | nan ± nan |")


def test_columns_of_one_figure(tmp_path, capsys):
    rows = {"new": [[0.5, 0.75], [0.25]], "old": [[0.5], []]}
    show_columns("method", ["64", "128"], rows, "accuracy, %", tmp_path / "table.png")
    assert capsys.readouterr().out.splitlines() == [
        "| method | 64 | 128 |",
        "|---|---|---|",
        "| new | 62.50 ± 17.68 | 25.00 |",
        "| old | 50.00 |  |",
    ]
    assert (tmp_path / "table.png").stat().st_size > 1000


def test_figures_of_a_cell_in_a_line():
    shown = {"f1": Figure("F1"), "none": Figure("none"), "seconds": Figure("seconds", 1, 1)}
    assert describe({"seconds": 2.25, "f1": 0.5}, shown) == "F1 50.00, seconds 2.2"
