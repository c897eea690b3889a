"""Runs the recipes as their users do: the real command, in this process or in one of its own."""

import contextlib
import importlib.util
import io
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

import h5py

ROOT = Path(__file__).resolve().parents[2]


class Printed(io.StringIO):
    """Keeps what is printed; presses Ctrl-C, once, when `text` is."""

    def __init__(self, text=None):
        super().__init__()
        self.text = text

    def write(self, string):
        size = super().write(string)
        if self.text is not None and self.text in self.getvalue():
            self.text = None
            raise KeyboardInterrupt
        return size


def _run(recipe, arguments, printed, typed=""):
    """Runs the script in this process; returns the exit code."""
    path = ROOT / "recipes" / f"{recipe}.py"
    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        mock.patch.object(sys, "argv", [str(path), *map(str, arguments)]),
        mock.patch.object(sys, "path", [str(path.parent), *sys.path]),
        mock.patch.object(sys, "stdin", io.StringIO(typed)),
    ):
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as end:
            if isinstance(end.code, str):
                print(end.code)
            return 1 if isinstance(end.code, str) else end.code or 0
    return 0


def run(recipe, *arguments, code=0, typed=""):
    """What `python recipes/<recipe>.py <arguments>` prints, run in this process.

    It must end with the exit code `code`; `typed` is its input.
    """
    printed = Printed()
    assert _run(recipe, arguments, printed, typed) == code, printed.getvalue()
    return printed.getvalue()


def interrupt_after(text, recipe, *arguments):
    """As `run`, stopped as if by Ctrl-C when `text` is printed; returns all that was."""
    printed = Printed(text)
    assert _run(recipe, arguments, printed) != 0, printed.getvalue()
    assert printed.text is None, printed.getvalue()
    return printed.getvalue()


def start_process(recipe, *arguments):
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


def interrupt_process_after(text, recipe, *arguments):
    """Starts the command, presses Ctrl-C when a line holds `text`; returns all it printed."""
    process = start_process(recipe, *arguments)
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
