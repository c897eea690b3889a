import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kexue_keras.models.checkpoints.protobuf import MalformedError
from kexue_keras.models.checkpoints.sorted_string_table import (
    FOOTER_BYTES,
    TABLE_MAGIC,
    decode_table,
    encode_table,
    masked_crc,
)

TABLES = st.dictionaries(st.binary(max_size=8), st.binary(max_size=20), max_size=40)


@settings(max_examples=50)
@given(TABLES, st.sampled_from([1, 20, 1 << 18]))
def test_round_trip_in_the_order_of_the_keys(table, block_bytes):
    decoded = decode_table(encode_table(table, block_bytes))
    assert decoded == table
    assert list(decoded) == sorted(table)


def bitwise_crc(data):
    """CRC-32C bit by bit, from its polynomial."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@given(st.binary(max_size=30))
def test_masked_checksum(data):
    crc = bitwise_crc(data)
    rotated = (crc >> 15 | crc << 17) & 0xFFFFFFFF
    assert masked_crc(data) == (rotated + 0xA282EAD8) % 2**32
    assert masked_crc(np.frombuffer(data, np.uint8)) == masked_crc(data)


def test_checksum_of_the_standard():
    assert bitwise_crc(b"123456789") == 0xE3069283


def test_the_file_ends_with_the_magic_number():
    encoded = encode_table({b"key": b"value"})
    assert encoded[-8:] == struct.pack("<Q", TABLE_MAGIC)
    assert decode_table(encode_table({})) == {}


def test_shared_prefixes_are_stored_once():
    table = {f"a/long/common/prefix/{i:03d}".encode(): b"" for i in range(160)}
    restarts = 10
    assert len(encode_table(table)) < 160 * 9 + restarts * 30 + 200


def test_every_truncation_and_every_flipped_byte_is_refused():
    table = {f"key{i}".encode(): bytes([i]) * i for i in range(20)}
    encoded = encode_table(table, 64)
    for length in range(len(encoded)):
        with pytest.raises(MalformedError):
            decode_table(encoded[:length])
    for position in range(len(encoded)):
        damaged = bytearray(encoded)
        damaged[position] ^= 0x10
        with pytest.raises(MalformedError):
            decode_table(bytes(damaged))


def test_keys_that_would_eat_the_memory_are_refused():
    table = {b"a" * 70_000: b"x", b"a" * 70_000 + b"b": b"y"}
    with pytest.raises(MalformedError, match="a key .* has 70000 bytes"):
        decode_table(encode_table(table))


@settings(max_examples=100)
@given(st.binary(max_size=80))
def test_arbitrary_bytes_with_a_footer_are_refused_cleanly(data):
    magic = struct.pack("<Q", TABLE_MAGIC)
    try:
        decode_table(data.ljust(FOOTER_BYTES, b"\0") + magic)
    except MalformedError:
        return
    pytest.fail("bytes without checksums were taken for a table")
