"""What the two READMEs name exists, and their first example runs."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import kexue_keras

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh.md")}
each = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)


@each
def test_names_in_the_tables_exist(text):
    modules = "|".join(kexue_keras._SUBMODULES)
    names = re.findall(rf"`(?:kexue_keras\.)?({modules})\.(\w+)", text)
    assert len(set(names)) > 20
    for module, name in names:
        if name != "py":
            assert hasattr(importlib.import_module(f"kexue_keras.{module}"), name), (module, name)


@each
def test_options_belong_to_their_recipe(text):
    checked = 0
    for line in text.splitlines():
        for recipe in re.findall(r"recipes/(\w+)\.py", line)[:1]:
            source = (ROOT / "recipes" / f"{recipe}.py").read_text(encoding="utf-8")
            for module in ("options", "few_shot"):
                path = ROOT / "kexue_keras" / "experiments" / f"{module}.py"
                source += path.read_text(encoding="utf-8")
            for option in re.findall(r"--([a-z][a-z-]+)", line):
                name = option.removeprefix("no-").replace("-", "_")
                assert re.search(rf"^    {name}: ", source, re.MULTILINE), (recipe, option)
                checked += 1
    assert checked > 10


@each
def test_links_and_files_exist(text):
    targets = re.findall(r"\]\((?!http|#)([^)#]+)", text)
    files = re.findall(r"`((?:tests|recipes|data)/[\w./]*\w\.?\w*)`", text)
    assert targets and files
    for path in targets + files:
        assert (ROOT / path).exists(), path


@pytest.mark.slow
@each
def test_the_first_example_runs(text):
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    best = [line for line in done.stdout.splitlines() if re.match(r"-\d+\.\d+ ", line)][0]
    assert best.split(" ", 1)[1] == "东京"
