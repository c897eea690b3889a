"""Programs written for bert4keras: the same losses under bert4keras and, imports replaced, here.

Dropout is off, and layers without weights in the checkpoint are given fixed ones. The programs are
ours, one for each kind of bert4keras's own examples.
"""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from tiny_checkpoint import make_tiny_checkpoint

pytestmark = [pytest.mark.parity, pytest.mark.once]

FOLDER = Path(__file__).with_name("programs")
NO_PROGRAMS = ("steady", "under_bert4keras")
PROGRAMS = sorted({p.stem for p in FOLDER.glob("*.py")} - {*NO_PROGRAMS})
# of the others each takes ten seconds and more, under bert4keras and here
FAST = ("classification", "relation_pointers", "title_generation")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    make_tiny_checkpoint(folder)
    return str(folder)


@pytest.fixture(scope="module")
def theirs(checkpoint, tmp_path_factory):
    """What programs return under bert4keras, those that run together in one process."""

    @functools.cache
    def answers(programs):
        output = tmp_path_factory.mktemp("answers") / "answers.json"
        program = [sys.executable, str(FOLDER / "under_bert4keras.py"), checkpoint, str(output)]
        done = subprocess.run(
            [*program, *programs],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(output.read_text(encoding="utf-8"))

    slow = tuple(sorted(set(PROGRAMS) - set(FAST)))
    return lambda program: answers(FAST if program in FAST else slow)[program]


def here(program, folder, monkeypatch):
    """What a program returns here, after what the README says is done to its imports."""
    text = (FOLDER / f"{program}.py").read_text(encoding="utf-8")
    text = text.replace("from bert4keras", "from kexue_keras.compat")
    monkeypatch.syspath_prepend(str(FOLDER))
    scope = {"__name__": f"{program}_here"}
    exec(compile(text, program, "exec"), scope)
    return [float(x) for x in scope["run"](folder)]


@pytest.fixture
def without_xla(monkeypatch):
    """Programs compile graphs as Keras does, but for so few steps not by XLA."""
    original = keras.Model.compile

    def compile_(self, *args, **kwargs):
        return original(self, *args, **{"jit_compile": False, **kwargs})

    monkeypatch.setattr(keras.Model, "compile", compile_)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "program",
    [x if x in FAST else pytest.param(x, marks=pytest.mark.slow) for x in PROGRAMS],
)
def test_the_same_losses(program, theirs, checkpoint, monkeypatch, without_xla):
    expected = theirs(program)
    assert isinstance(expected, list), expected
    found = here(program, checkpoint, monkeypatch)
    assert found[0] == pytest.approx(expected[0], rel=1e-3) and expected[0] > 0
    # a step of Adam turns the rounding of small gradients into small differences
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=5e-3)
