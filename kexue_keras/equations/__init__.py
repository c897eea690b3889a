"""Equations of math word problems: exact arithmetic, normalisation, new numbers, marks.

No deep-learning framework is imported.
"""

from kexue_keras.equations.arithmetic import (
    EquationError,
    equal,
    evaluate,
    strip_brackets,
)
from kexue_keras.equations.marks import MARKS, mask_numbers, unmask_numbers
from kexue_keras.equations.normalization import normalize
from kexue_keras.equations.resampling import resample_numbers

__all__ = [
    "MARKS",
    "EquationError",
    "equal",
    "evaluate",
    "mask_numbers",
    "normalize",
    "resample_numbers",
    "strip_brackets",
    "unmask_numbers",
]
