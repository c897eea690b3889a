"""Digits: scikit-learn's and those of files."""

import numpy as np
import pytest

from kexue_keras import datasets

pytestmark = pytest.mark.once


def test_the_digits_of_scikit_learn():
    x, y = datasets.load_digits()
    assert x.shape == (1797, 64) and x.dtype == np.float32 and y.dtype == np.int32
    assert x.min() == 0 and x.max() == 1 and set(y) == set(range(10))
    first = x[0].reshape(8, 8)  # a nought: ink around a hole
    assert y[0] == 0 and first[3:5, 3:5].max() == 0 < first[3, 2]


def test_files(tmp_path):
    x, y = datasets.load_digits()
    rows = np.concatenate([16 * x[:5], y[:5, None]], axis=1).astype(int)
    path = tmp_path / "digits.tra"
    path.write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n\n", encoding="utf-8")
    found = datasets.load_digits(path)
    np.testing.assert_array_equal(found[0], x[:5])
    np.testing.assert_array_equal(found[1], y[:5])


@pytest.mark.parametrize("line", ["0," * 64, "17," * 64 + "1", "0," * 64 + "10", "0," * 63 + "1"])
def test_errors_name_file_and_line(tmp_path, line):
    path = tmp_path / "digits.txt"
    path.write_text("0," * 64 + f"1\n{line}\n", encoding="utf-8")
    with pytest.raises(datasets.DataError, match=r"digits.txt:2: a line must be 64 numbers from 0"):
        datasets.load_digits(path)
