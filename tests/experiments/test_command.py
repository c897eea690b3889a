"""The one entry of the recipes: options, Ctrl-C, errors in a line, what it sets for TensorFlow."""

import ast
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

from kexue_keras.experiments.command import AFTER_A_CELL, command

import pytest

from kexue_keras.datasets import DataError
from kexue_keras.experiments.options import UsageError

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted(path for path in (ROOT / "recipes").glob("*.py") if "web" not in path.stem)


@dataclasses.dataclass
class Config:
    """A recipe."""

    epochs: int = 3
    """Passes over the samples."""


def failing(error):
    def main(config):
        raise error

    return main


def test_options_reach_main():
    found = []
    command(Config, found.append, args=["--epochs", "5"])
    command(Config, found.append, args=[])
    assert found == [Config(5), Config(3)]


@pytest.mark.parametrize(
    "error, line",
    [
        (UsageError("`epochs` must be at least 1. Received: 0"), "`epochs` must be at least 1"),
        (DataError("a.tsv:2: must have 3 columns"), "a.tsv:2: must have 3 columns"),
        (FileNotFoundError(2, "No such file or directory", "a.tsv"), "directory: 'a.tsv'"),
    ],
)
def test_what_a_user_can_mend_is_told_in_one_line(error, line, capsys):
    with pytest.raises(SystemExit) as end:
        command(Config, failing(error), args=[])
    printed = capsys.readouterr()
    assert end.value.code == 2 and printed.out == ""
    assert printed.err.startswith("error: ") and line in printed.err
    assert len(printed.err.splitlines()) == 1


@pytest.mark.parametrize("error", [ValueError("shapes"), TypeError("none"), KeyError("x")])
def test_errors_of_the_program_keep_their_traceback(error):
    with pytest.raises(type(error)):
        command(Config, failing(error), args=[])


def test_ctrl_c_says_what_the_same_command_does():
    with pytest.raises(SystemExit, match="stopped; the same command continues after the last"):
        command(Config, failing(KeyboardInterrupt()), args=[])
    with pytest.raises(SystemExit, match="the same command goes on with the next cell"):
        command(Config, failing(KeyboardInterrupt()), AFTER_A_CELL, args=[])


def imported(path):
    """Modules that a script imports, in order."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_import_it_before_any_other_library(path):
    others = [name for name in imported(path) if name.split(".")[0] not in sys.stdlib_module_names]
    assert others[0] == "kexue_keras.experiments.command"


@pytest.mark.parametrize("given, found", [(None, "1"), ("0", "0")])
def test_it_sets_what_tensorflow_reads_on_import_and_imports_no_framework(given, found):
    program = (
        "import os, sys; import kexue_keras.experiments.command; "
        "print(os.environ['TF_ENABLE_ONEDNN_OPTS'], "
        "sorted({'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("TF_ENABLE_ONEDNN_OPTS", None)
    if given is not None:
        environment["TF_ENABLE_ONEDNN_OPTS"] = given
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"{found} []"
