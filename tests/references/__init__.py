"""Formulas of articles in NumPy and SciPy, float64, written without sight of the library's code."""
