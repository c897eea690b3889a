"""Runs the recipes as their users do: the real command, in a process of its own."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py

ROOT = Path(__file__).resolve().parents[2]


def start(recipe, *arguments):
    """The process of `python recipes/<recipe>.py <arguments>`, which heeds Ctrl-C."""
    # tests started in the background of a shell ignore Ctrl-C, and so would the process
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return subprocess.Popen(
            [sys.executable, "-u", str(ROOT / "recipes" / f"{recipe}.py"), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        )
    finally:
        signal.signal(signal.SIGINT, before)


def run(recipe, *arguments, code=0):
    """What the command printed; it must end with the exit code `code`."""
    process = start(recipe, *arguments)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == code, output
    return output


def interrupt_after(text, recipe, *arguments):
    """Starts the command, presses Ctrl-C when a line holds `text`; returns all it printed."""
    process = start(recipe, *arguments)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            process.send_signal(signal.SIGINT)
            break
    lines.append(process.communicate(timeout=600)[0])
    assert process.returncode != 0
    return "".join(lines)


def head(path, target, lines):
    """Copies the first lines of a file."""
    rows = Path(path).read_text(encoding="utf-8").split("\n")[:lines]
    Path(target).write_text("\n".join(rows) + "\n", encoding="utf-8")
    return target


def load(name):
    """The recipe as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "recipes" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def weights(path):
    """All arrays of a weights file, by name."""
    found = {}

    def add(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(add)
    return found
