"""Another library asked in a process of its own, through files.

Its program reads lines of JSON with the paths `request`, `arrays_in`, `arrays_out`, and answers
each with the line `{"error": null}` or the traceback in place of null; see parity/reference.py.
"""

import json
import os
import select
import subprocess
import sys
from pathlib import Path

import numpy as np

TIMEOUT_SECONDS = 600
STDERR_TAIL = 3000


class ProcessError(RuntimeError):
    """The reference refused a request, or its process ended."""


class ReferenceProcess:
    """A process that starts with the first request and answers many.

    Args:
        program: Path of the program, as parity/reference.py.
        directory: Where requests and arrays are exchanged.
        environment: Additions to the environment of the process.
    """

    def __init__(self, program: Path, directory: Path, **environment: str):
        self.program = program
        self.directory = directory
        self.environment = environment
        self.process = None
        self.requests = 0

    def run(self, command: str, arrays: dict | None = None, **request) -> dict:
        """Runs a command of the program.

        Args:
            command: Its name, such as "predict".
            arrays: Arrays by name that the command works on.
            request: Its other arguments; JSON values, paths and NumPy numbers.

        Returns:
            The arrays of the answer, and `meta`: a dict.

        Raises:
            ProcessError: With the traceback and the end of stderr of the process.
        """
        stem = self.directory / f"{self.requests:05d}"
        self.requests += 1
        paths = {
            "request": f"{stem}.json",
            "arrays_in": f"{stem}.in.npz",
            "arrays_out": f"{stem}.out.npz",
        }
        text = json.dumps({"command": command, **request}, default=_to_json)
        Path(paths["request"]).write_text(text, encoding="utf-8")
        np.savez(paths["arrays_in"], **(arrays or {}))
        error = self._exchange(json.dumps(paths))
        if error is not None:
            raise ProcessError(f"`{command}` failed in the reference:\n{error}\n{self._tail()}")
        with np.load(paths["arrays_out"]) as archive:
            answer = {name: archive[name] for name in archive.files}
        return answer | {"meta": json.loads(str(answer["meta"]))}

    def close(self):
        if self.process is None:
            return
        self.process.stdin.close()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process = None

    def _start(self):
        with open(self.directory / "stderr.txt", "ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, str(self.program), "--serve"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, **self.environment},
                cwd=self.directory,
            )

    def _exchange(self, line: str) -> str | None:
        if self.process is None:
            self._start()
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise ProcessError(f"The process ended:\n{self._tail()}") from error
        ready, _, _ = select.select([self.process.stdout], [], [], TIMEOUT_SECONDS)
        if not ready:
            self.process.kill()
            raise ProcessError(f"No answer in {TIMEOUT_SECONDS} seconds:\n{self._tail()}")
        reply = self.process.stdout.readline()
        if not reply:
            raise ProcessError(f"The process ended:\n{self._tail()}")
        return json.loads(reply)["error"]

    def _tail(self) -> str:
        text = (self.directory / "stderr.txt").read_text(encoding="utf-8", errors="replace")
        return f"End of its stderr:\n{text[-STDERR_TAIL:]}"


def _to_json(value):
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return os.fspath(value)
