"""The little of Protocol Buffers that checkpoints need: varints and flat messages.

Example:

>>> message = encode_field(1, 300) + encode_field(2, b"name")
>>> message.hex()
'08ac0212046e616d65'
>>> list(decode_fields(message))
[(1, 300), (2, b'name')]

Reference:
    https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Iterator


class MalformedError(ValueError):
    """Bytes that break the format."""


def encode_varint(number: int) -> bytes:
    """A non-negative integer, seven bits a byte, the lowest first."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def decode_varint(data: bytes, position: int) -> tuple[int, int]:
    """The number that starts at `position`, and the position after it."""
    number = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise MalformedError("a number is cut short")
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte == 0 and shift > 0:
            raise MalformedError("a number has a needless byte")
        if byte < 0x80:
            return number, position
    raise MalformedError("a number is too long")


def encode_field(number: int, value: int | bytes) -> bytes:
    """A field holding a number or bytes; a zero is left out, as readers assume it."""
    if value == 0:
        return b""
    if isinstance(value, bytes):
        return encode_varint(number << 3 | 2) + encode_varint(len(value)) + value
    return encode_varint(number << 3) + encode_varint(value)


def decode_fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The (field number, value) pairs of a message; varints as signed 64-bit integers."""
    position = 0
    while position < len(message):
        tag, position = decode_varint(message, position)
        wire_type = tag & 7
        if wire_type == 0:
            value, position = decode_varint(message, position)
            yield tag >> 3, value - (1 << 64) if value >> 63 else value
            continue
        if wire_type == 2:
            size, position = decode_varint(message, position)
        elif wire_type in (1, 5):
            size = 8 if wire_type == 1 else 4
        else:
            raise MalformedError(f"a message has a field of the unknown wire type {wire_type}")
        if position + size > len(message):
            raise MalformedError("a message is cut short")
        yield tag >> 3, message[position : position + size]
        position += size
