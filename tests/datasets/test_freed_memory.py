"""Freed memory is kept by glibc; other C libraries are left alone."""

import platform

import pytest

from kexue_keras.datasets import freed_memory

pytestmark = pytest.mark.once


@pytest.mark.parametrize("library", ["glibc", "musl", ""])
def test_only_glibc_is_told(monkeypatch, library):
    told = []

    class Library:
        def mallopt(self, *arguments):
            told.append(arguments)

    monkeypatch.setattr(platform, "libc_ver", lambda: (library, "2.36"))
    monkeypatch.setattr(freed_memory.ctypes, "CDLL", lambda name: Library())
    freed_memory.reuse_freed_memory()
    assert told == ([(-1, 1 << 30), (-3, 1 << 30)] if library == "glibc" else [])
