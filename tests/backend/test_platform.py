"""Backends that are not known."""

import keras
import pytest

from kexue_keras import backend


def test_unknown_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    with pytest.raises(ValueError, match="must be one of jax, tensorflow.*Received: numpy"):
        backend.jit(lambda: 0)
    with pytest.raises(ValueError, match="must be one of jax, tensorflow, torch.*numpy"):
        backend.value_and_grad(lambda: 0, [])


def test_xla_is_needed_on_jax_alone():
    assert backend.trains_without_xla() == (keras.backend.backend() != "jax")
