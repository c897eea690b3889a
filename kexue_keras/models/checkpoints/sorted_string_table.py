"""LevelDB's sorted string table: a file that maps byte strings to byte strings.

A file is a row of blocks and a footer. A block holds entries in the order of their keys; a key
omits what it shares with the key before it, except at restart points, whose positions end the
block. Each block is followed by its compression type and a checksum. The last block says where
the others lie, and the footer says where that block lies.

Example:

>>> decode_table(encode_table({b"key": b"value", b"keys": b"values"}))
{b'key': b'value', b'keys': b'values'}

Reference:
    LevelDB, `doc/table_format.md`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Mapping

import google_crc32c
import numpy as np

from kexue_keras.models.checkpoints.protobuf import MalformedError, decode_varint, encode_varint

TABLE_MAGIC = 0xDB4775248B80FB57
_LONGEST_KEY = 1 << 16
FOOTER_BYTES = 48
BLOCK_BYTES = 1 << 18
RESTART_INTERVAL = 16
CRC_MASK_DELTA = 0xA282EAD8


def masked_crc(data: bytes | np.ndarray) -> int:
    """CRC-32C, rotated and shifted so that checksums of checksums stay useful (LevelDB)."""
    return masked_crc_of_chunks([data])


def masked_crc_of_chunks(chunks: Iterable[bytes | np.ndarray]) -> int:
    """`masked_crc` of the chunks one after another."""
    crc = 0
    for chunk in chunks:
        crc = google_crc32c.extend(crc, chunk)
    return ((crc >> 15 | crc << 17) + CRC_MASK_DELTA) & 0xFFFFFFFF


def _encode_block(items: list[tuple[bytes, bytes]]) -> bytes:
    """Entries whose keys omit what they share with the key before, except at restart points."""
    block, restarts, previous = bytearray(), [], b""
    for position, (key, value) in enumerate(items):
        shared = 0
        if position % RESTART_INTERVAL == 0:
            restarts.append(len(block))
        else:
            shared = len(os.path.commonprefix([previous, key]))
        for number in (shared, len(key) - shared, len(value)):
            block += encode_varint(number)
        block += key[shared:] + value
        previous = key
    restarts = restarts or [0]
    return bytes(block) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def _short_successor(key: bytes) -> bytes:
    """A short byte string that does not precede `key`."""
    for position, byte in enumerate(key):
        if byte < 0xFF:
            return key[:position] + bytes([byte + 1])
    return key


def encode_table(table: Mapping[bytes, bytes], block_bytes: int = BLOCK_BYTES) -> bytes:
    """The bytes of a table file.

    Args:
        table: Values by key, in any order.
        block_bytes: A block is closed once it holds this much.
    """
    encoded = bytearray()

    def append_block(items: list[tuple[bytes, bytes]]) -> bytes:
        block = _encode_block(items) + b"\0"
        handle = encode_varint(len(encoded)) + encode_varint(len(block) - 1)
        encoded.extend(block + struct.pack("<I", masked_crc(block)))
        return handle

    handles, pending, pending_bytes = [], [], 0
    keys = sorted(table)
    for key in keys:
        pending.append((key, table[key]))
        pending_bytes += len(key) + len(table[key])
        is_last = key == keys[-1]
        if pending_bytes >= block_bytes or is_last:
            handles.append((_short_successor(key) if is_last else key, append_block(pending)))
            pending, pending_bytes = [], 0
    footer = append_block([]) + append_block(handles)
    footer = footer.ljust(FOOTER_BYTES - 8, b"\0") + struct.pack("<Q", TABLE_MAGIC)
    return bytes(encoded) + footer


def _decode_block(data: bytes, offset: int, size: int) -> list[tuple[bytes, bytes]]:
    end = offset + size + 1
    if end + 4 > len(data) - FOOTER_BYTES:
        raise MalformedError(f"the block at byte {offset} lies beyond the end of the file")
    block, kind = data[offset : end - 1], data[end - 1]
    if masked_crc(data[offset:end]) != int.from_bytes(data[end : end + 4], "little"):
        raise MalformedError(f"the checksum of the block at byte {offset} does not match")
    if kind != 0:
        raise MalformedError(f"the block at byte {offset} is compressed, which is not supported")
    if size < 4 or 4 * (int.from_bytes(block[-4:], "little") + 1) > size:
        raise MalformedError(f"the block at byte {offset} is too short")
    entries = block[: size - 4 * (int.from_bytes(block[-4:], "little") + 1)]
    items, key, position = [], b"", 0
    while position < len(entries):
        shared, position = decode_varint(entries, position)
        unshared, position = decode_varint(entries, position)
        value_size, position = decode_varint(entries, position)
        middle, end = position + unshared, position + unshared + value_size
        if shared + unshared > _LONGEST_KEY:
            raise MalformedError(
                f"a key of the block at byte {offset} has {shared + unshared} bytes"
            )
        if shared > len(key) or end > len(entries):
            raise MalformedError(f"an entry of the block at byte {offset} is cut short")
        key = key[:shared] + entries[position:middle]
        items.append((key, entries[middle:end]))
        position = end
    return items


def decode_table(data: bytes) -> dict[bytes, bytes]:
    """The entries of a table file, in the order of their keys.

    Args:
        data: The whole file.

    Raises:
        MalformedError: Anything that breaks the format, with the position of the block.
    """
    if len(data) < FOOTER_BYTES or data[-8:] != struct.pack("<Q", TABLE_MAGIC):
        raise MalformedError(
            f"its {len(data)} bytes do not end with the magic number of a string table; it is cut "
            "short or something else"
        )
    footer = data[-FOOTER_BYTES:]
    handles, position = [], 0
    for _ in range(4):
        number, position = decode_varint(footer, position)
        handles.append(number)
    if footer[position : FOOTER_BYTES - 8].strip(b"\0"):
        raise MalformedError("its footer has stray bytes")
    _decode_block(data, *handles[:2])
    table: dict[bytes, bytes] = {}
    for _, handle in _decode_block(data, *handles[2:]):
        offset, position = decode_varint(handle, 0)
        size, _ = decode_varint(handle, position)
        table.update(_decode_block(data, offset, size))
    if list(table) != sorted(table):
        raise MalformedError("its keys are out of order")
    return table
