"""The one entry of all recipes: options of the command line, Ctrl-C, errors that a user can mend.

Importing this module turns on TensorFlow's faster matrix products (oneDNN) unless the environment
variable `TF_ENABLE_ONEDNN_OPTS` is set. TensorFlow reads it once, on import, so a recipe imports
this module before Keras. Nothing else in the package changes the environment, and no deep-learning
framework is imported here.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from kexue_keras.datasets import DataError
from kexue_keras.experiments.options import UsageError

if "tensorflow" not in sys.modules:
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

AFTER_AN_EPOCH = "continues after the last complete epoch"
AFTER_A_CELL = "goes on with the next cell"


def command(
    config: type,
    main: Callable[[Any], None],
    when_repeated: str = AFTER_AN_EPOCH,
    args: Sequence[str] | None = None,
) -> None:
    """Runs a recipe with the options of the command line.

    Ctrl-C ends it with a line that says what the same command will do. What its user can mend, an
    option or a file, is told in one line, with the exit code 2; errors of the program keep their
    traceback.

    Args:
        config: dataclass of the options; the docstrings of its fields are what `--help` prints.
        main: called with an instance.
        when_repeated: what the same command does after an interruption.
        args: in place of the command line.

    Raises:
        SystemExit: the recipe was interrupted, or an option or a file is not what it must be.

    Example:

    >>> import dataclasses
    >>> @dataclasses.dataclass
    ... class Config:
    ...     epochs: int = 3
    >>> command(Config, lambda config: print(config.epochs), args=["--epochs", "5"])
    5
    """
    try:
        main(tyro.cli(config, args=args))
    except KeyboardInterrupt:
        sys.exit(f"\nstopped; the same command {when_repeated}")
    except (UsageError, DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
