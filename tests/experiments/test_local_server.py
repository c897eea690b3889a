"""Servers for this computer only."""

import pytest

from kexue_keras.experiments.local_server import is_loopback

pytestmark = pytest.mark.once


def test_addresses_of_this_computer():
    assert is_loopback("127.0.0.1") and is_loopback("localhost") and is_loopback("::1")
    assert not is_loopback("0.0.0.0") and not is_loopback("example.org")
