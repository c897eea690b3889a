"""Times several programs of the same work alternately, and prints ratios with their spread.

Each contestant is a process of its own (bert4keras replaces the module `keras`, and engines keep
threads); all of them are ready before the first measurement, and they take turns, so that noise of
the machine meets all alike. A contestant prints "ready", then works once per line it reads and
answers with the seconds it took.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time


def contestant(work):
    """Runs the side of a contestant: `work()` once per line of standard input."""
    work()
    work()
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        work()
        print(f"seconds {time.perf_counter() - began}", flush=True)


class _Process:
    def __init__(self, script, name, environment):
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, script, "--contestant", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        )

    def wait_for(self, word):
        for line in self.process.stdout:
            if line.startswith(word):
                return line.removeprefix(word).strip()
        code = self.process.wait()
        self.errors.seek(0)
        tail = self.errors.read()[-2000:]
        raise RuntimeError(f"{self.process.args[-1]} ended with code {code}:\n{tail}")

    def measure(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.wait_for("seconds"))


def compare(script, title, contestants, first, rounds):
    """Runs the contestants in turn and prints how many times as fast as each `first` is.

    Args:
        script: path of the script that `--contestant NAME` starts.
        title: what is printed above.
        contestants: dict of name to environment variables.
        first: name of the one that the others are compared with.
        rounds: number of measurements of each.
    """
    running = {}
    for name, environment in contestants.items():
        running[name] = _Process(script, name, environment)
        running[name].wait_for("ready")
    seconds = {name: [] for name in running}
    for _ in range(rounds):
        for name, process in running.items():
            seconds[name].append(process.measure())
    for process in running.values():
        process.process.stdin.close()
        process.process.wait()
    print(f"{title}, {rounds} rounds")
    for name, times in seconds.items():
        line = f"  {name:32} median {statistics.median(times) * 1e3:8.0f} ms"
        if name != first:
            ratios = sorted(b / a for a, b in zip(seconds[first], times, strict=True))
            line += (
                f"   {first} is {statistics.median(ratios):.2f} times as fast "
                f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
            )
        print(line, flush=True)
