"""Programs with two virtual devices, each in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

_BEGIN = """
import json, sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
sys.path.insert(0, "tests")
import keras
"""


def run_on_two_devices(program, *arguments):
    """What a program prints last, as JSON: it has `json`, `sys`, `tf` and `keras`, the devices
    "CPU:0" and "CPU:1", and the modules of tests/; its arguments are in `sys.argv[1:]`."""
    done = subprocess.run(
        [sys.executable, "-c", _BEGIN + program, *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
