import pytest
from hypothesis import given
from hypothesis import strategies as st

from kexue_keras.models.checkpoints.protobuf import (
    MalformedError,
    decode_fields,
    decode_varint,
    encode_field,
    encode_varint,
)

NUMBERS = st.integers(0, 2**64 - 1)


@given(NUMBERS, st.binary(max_size=5))
def test_varint_round_trip(number, after):
    encoded = encode_varint(number)
    assert decode_varint(encoded + after, 0) == (number, len(encoded))
    assert decode_varint(after + encoded, len(after)) == (number, len(after + encoded))
    assert len(encoded) == max(1, -(-number.bit_length() // 7))


@pytest.mark.parametrize(
    "number,encoded", [(0, b"\0"), (1, b"\1"), (127, b"\x7f"), (128, b"\x80\1"), (300, b"\xac\2")]
)
def test_varints_of_the_specification(number, encoded):
    assert encode_varint(number) == encoded


@given(st.integers(1, 2**64 - 1))
def test_truncated_varints_are_refused(number):
    encoded = encode_varint(number)
    for length in range(len(encoded)):
        with pytest.raises(MalformedError, match="cut short"):
            decode_varint(encoded[:length], 0)


def test_malformed_varints():
    with pytest.raises(MalformedError, match="too long"):
        decode_varint(b"\xff" * 11, 0)
    with pytest.raises(MalformedError, match="needless"):
        decode_varint(b"\x80\0", 0)


@given(st.lists(st.tuples(st.integers(1, 1000), st.integers(1, 2**63 - 1) | st.binary(min_size=1))))
def test_message_round_trip(fields):
    message = b"".join(encode_field(number, value) for number, value in fields)
    assert list(decode_fields(message)) == fields


def test_zeros_are_left_out_and_negative_numbers_are_signed():
    assert encode_field(3, 0) == b""
    assert list(decode_fields(encode_varint(1 << 3) + encode_varint(2**64 - 5))) == [(1, -5)]


def test_fixed_width_fields():
    message = encode_varint(2 << 3 | 5) + b"abcd" + encode_varint(3 << 3 | 1) + b"12345678"
    assert list(decode_fields(message)) == [(2, b"abcd"), (3, b"12345678")]


def test_malformed_messages():
    with pytest.raises(MalformedError, match="unknown wire type 3"):
        list(decode_fields(encode_varint(1 << 3 | 3)))
    for message in (encode_field(2, b"name")[:-1], encode_varint(2 << 3 | 5) + b"abc"):
        with pytest.raises(MalformedError, match="cut short"):
            list(decode_fields(message))


@given(st.binary(max_size=40))
def test_arbitrary_bytes_are_decoded_or_refused(message):
    try:
        fields = list(decode_fields(message))
    except MalformedError:
        return
    assert all(isinstance(value, int | bytes) for _, value in fields)
