"""bert4keras's six modules under their six names, for programs written for bert4keras.

`sed 's/from bert4keras/from kexue_keras.compat/'` is then the change of a program. Adapters only:
what is worth having stands in the rest of the package, which never imports this one. A name of
bert4keras that is not here raises an ImportError that says what to use; the README beside this file
lists all of them.
"""

import importlib

__all__ = ["backend", "layers", "models", "optimizers", "snippets", "tokenizers"]


def __getattr__(name):
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
