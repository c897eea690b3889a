"""TensorFlow's V2 checkpoint format (the "tensor bundle") read and written without TensorFlow.

A checkpoint with the prefix `bert_model.ckpt` is a family of files:

- `bert_model.ckpt.index`: a sorted string table (LevelDB's file format). The empty key holds the
  header, every other key is the name of a variable and its value says where the tensor lies.
- `bert_model.ckpt.data-00000-of-00001`, ...: the raw little-endian bytes of the tensors.

Both carry CRC-32C checksums, and both are verified here: the index when the bundle is opened, a
tensor when it is read.

Reference:
    TensorFlow, `tensor_bundle.proto`; LevelDB, `doc/table_format.md`.
"""

from __future__ import annotations

import difflib
import math
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kexue_keras.files import replacing
from kexue_keras.models.checkpoints.protobuf import (
    MalformedError,
    decode_fields,
    encode_field,
    encode_varint,
)
from kexue_keras.models.checkpoints.sorted_string_table import (
    decode_table,
    encode_table,
    masked_crc,
    masked_crc_of_chunks,
)

BFLOAT16 = 14
DTYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    8: "complex64",
    9: "int64",
    10: "bool",
    17: "uint16",
    18: "complex128",
    19: "float16",
    22: "uint32",
    23: "uint64",
}
DTYPE_NUMBERS = {name: number for number, name in DTYPES.items()} | {"bfloat16": BFLOAT16}
STRING = 7
FIXED32 = 5
CHUNK_BYTES = 1 << 20


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged or does not hold what was asked for."""


@dataclass(frozen=True)
class _Entry:
    """Where one tensor lies: the decoded BundleEntryProto."""

    dtype_number: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int
    partitioned: bool

    @property
    def stored_dtype(self) -> np.dtype:
        return np.dtype("<u2" if self.dtype_number == BFLOAT16 else DTYPES[self.dtype_number])


class TensorBundle:
    """A TensorFlow V2 checkpoint opened for reading.

    Opening verifies the whole index and that every data file is there and long enough; `read`
    verifies the checksum of the tensor. Only the tensors that are asked for are read from disk, and
    no file stays open. As what reads other formats, it may be used as a context manager.

    Args:
        prefix: Path of the checkpoint without the ending (`bert_model.ckpt`), or the path of its
            `.index` file.

    Raises:
        CheckpointError: The index or a data file is missing, cut short, damaged or no checkpoint.

    Example:

    >>> import tempfile
    >>> prefix = tempfile.mkdtemp() + "/model.ckpt"
    >>> write(prefix, {"dense/kernel": np.ones((2, 3), "float32"), "step": np.int64(7)})
    >>> with TensorBundle(prefix) as bundle:
    ...     bundle.keys(), bundle.shape("dense/kernel"), bundle.read("step").item()
    (['dense/kernel', 'step'], (2, 3), 7)
    """

    def __init__(self, prefix: str | os.PathLike[str]):
        self.prefix = os.fspath(prefix).removesuffix(".index")
        self.path = self.prefix
        self.index_path = self.prefix + ".index"
        table = _load_index(self.index_path)
        try:
            self._shards = _decode_header(table)
            self._entries = {
                key.decode(): _decode_entry(value) for key, value in table.items() if key
            }
        except (MalformedError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{self.index_path} is damaged: {error}") from error
        self._check_data_files()

    def __enter__(self) -> TensorBundle:
        return self

    def __exit__(self, *exception: object) -> None:
        pass  # no file stays open

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __repr__(self) -> str:
        return f"TensorBundle({self.prefix!r}, {len(self)} variables)"

    def keys(self) -> list[str]:
        """The names of all variables, sorted."""
        return list(self._entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of the variable `name`."""
        return self._entry(name).shape

    def dtype(self, name: str) -> np.dtype:
        """The NumPy dtype that `read(name)` returns; float32 for a variable stored as bfloat16."""
        entry = self._numeric_entry(name)
        return np.dtype("float32") if entry.dtype_number == BFLOAT16 else entry.stored_dtype

    def read(self, name: str) -> np.ndarray:
        """The variable `name` as an array of its own.

        Args:
            name: Name of the variable, as in `keys()`.

        Returns:
            Array of `shape(name)` and `dtype(name)`. bfloat16 values come as float32, which holds
            them exactly.

        Raises:
            CheckpointError: No such variable (the message lists the closest names), a variable
                that is not numeric, or bytes that do not match their checksum.
        """
        entry = self._numeric_entry(name)
        raw = self._raw(entry)
        self._compare(name, entry, masked_crc(raw))
        array = raw.view(entry.stored_dtype).reshape(entry.shape)
        if entry.dtype_number == BFLOAT16:
            wide = array.astype(np.uint32)
            wide <<= 16
            return wide.view(np.float32)
        return array

    def check(self, name: str) -> None:
        """Raises what `read` would raise, a small piece of the variable in memory at a time."""
        entry = self._numeric_entry(name)
        self._compare(name, entry, masked_crc_of_chunks(self._chunks(entry)))

    def _compare(self, name: str, entry: _Entry, crc: int) -> None:
        if crc != entry.crc:
            raise CheckpointError(
                f"{self._data_path(entry.shard)} is damaged: the checksum of variable `{name}` "
                f"does not match its {entry.size} bytes at offset {entry.offset}"
            )

    def _entry(self, name: str) -> _Entry:
        if name in self._entries:
            return self._entries[name]
        close = difflib.get_close_matches(str(name), self._entries, n=3, cutoff=0.5)
        hint = f" Closest names: {', '.join(close)}." if close else ""
        raise CheckpointError(
            f"{self.index_path} has no variable `{name}` among its {len(self)}.{hint}"
        )

    def _numeric_entry(self, name: str) -> _Entry:
        entry = self._entry(name)
        problem = None
        if entry.partitioned:
            problem = "is partitioned into slices, which are not supported"
        elif entry.dtype_number == STRING:
            problem = "holds strings, not numbers"
        elif entry.dtype_number != BFLOAT16 and entry.dtype_number not in DTYPES:
            problem = f"has the unsupported TensorFlow dtype number {entry.dtype_number}"
        elif math.prod(entry.shape) * entry.stored_dtype.itemsize != entry.size:
            problem = f"of shape {entry.shape} has {entry.size} bytes, which do not fit together"
        if problem:
            raise CheckpointError(f"{self.index_path}: variable `{name}` {problem}")
        return entry

    def _data_path(self, shard: int) -> str:
        return f"{self.prefix}.data-{shard:05d}-of-{self._shards:05d}"

    def _check_data_files(self) -> None:
        sizes = []
        for shard in range(self._shards):
            path = self._data_path(shard)
            if not os.path.isfile(path):
                raise CheckpointError(f"{path} is missing: {self.index_path} needs it")
            sizes.append(os.path.getsize(path))
        for name, entry in self._entries.items():
            if not 0 <= entry.shard < self._shards:
                raise CheckpointError(
                    f"{self.index_path}: variable `{name}` lies in data file {entry.shard} of "
                    f"{self._shards}"
                )
            if entry.offset < 0 or entry.size < 0 or any(d < 0 for d in entry.shape):
                raise CheckpointError(f"{self.index_path}: variable `{name}` has a negative size")
            if entry.offset + entry.size > sizes[entry.shard]:
                raise CheckpointError(
                    f"{self._data_path(entry.shard)} is cut short: variable `{name}` needs bytes "
                    f"{entry.offset} to {entry.offset + entry.size}, the file has "
                    f"{sizes[entry.shard]}"
                )

    def _raw(self, entry: _Entry) -> np.ndarray:
        """The bytes of a tensor."""
        return np.fromfile(self._data_path(entry.shard), np.uint8, entry.size, offset=entry.offset)

    def _chunks(self, entry: _Entry) -> Iterator[bytes]:
        left = entry.size
        with open(self._data_path(entry.shard), "rb") as file:
            file.seek(entry.offset)
            while left and (chunk := file.read(min(left, CHUNK_BYTES))):
                left -= len(chunk)
                yield chunk


def write(prefix: str | os.PathLike[str], tensors: Mapping[str, np.ndarray]) -> None:
    """Writes a checkpoint that TensorFlow, Google's BERT code and `TensorBundle` read.

    Both files are written under temporary names and then renamed, the data before the index. A
    checkpoint that was there stays intact when writing fails; between the two renames its index
    does not match the new data, which readers notice by the checksums.

    Args:
        prefix: Path of the checkpoint without the ending. Its directory must exist.
        tensors: Arrays by variable name; any shape, also scalars and empty arrays. bool, integers,
            float16, float32, float64, complex and ml_dtypes' bfloat16.

    Raises:
        CheckpointError: The directory does not exist, a name is empty or a dtype has no
            counterpart in TensorFlow.

    Example:

    >>> import tempfile
    >>> prefix = tempfile.mkdtemp() + "/model.ckpt"
    >>> write(prefix, {"bias": np.arange(3.0)})
    >>> TensorBundle(prefix).read("bias")
    array([0., 1., 2.])
    """
    prefix = os.fspath(prefix)
    directory = Path(prefix).parent
    if not directory.is_dir():
        raise CheckpointError(f"{prefix} cannot be written: there is no directory {directory}")
    arrays = {name.encode(): _little_endian(name, array) for name, array in tensors.items()}
    if b"" in arrays:
        raise CheckpointError(f"{prefix}: a variable name must not be empty")
    table = {b"": _encode_header()}
    # the index is renamed last, and both are written before either is renamed
    with replacing(prefix + ".index") as index, replacing(prefix + ".data-00000-of-00001") as data:
        with open(data, "xb") as file:
            for key in sorted(arrays):
                dtype_number, array = arrays[key]
                raw = array.reshape(-1).view(np.uint8)
                table[key] = _encode_entry(
                    dtype_number, array.shape, file.tell(), raw.nbytes, masked_crc(raw)
                )
                raw.tofile(file)
        index.write_bytes(encode_table(table))


def _little_endian(name: str, array: np.ndarray) -> tuple[int, np.ndarray]:
    array = np.asarray(array, order="C")
    if array.dtype.name not in DTYPE_NUMBERS:
        raise CheckpointError(f"Variable `{name}` has dtype {array.dtype}, which is not supported")
    return DTYPE_NUMBERS[array.dtype.name], array.astype(
        array.dtype.newbyteorder("<"), order="C", copy=False
    )


def _encode_header() -> bytes:
    shards, producer = encode_field(1, 1), encode_field(1, 1)
    return shards + encode_field(3, producer)


def _decode_header(table: Mapping[bytes, bytes]) -> int:
    """The number of data files."""
    if b"" not in table:
        raise MalformedError("it is a string table without the header of a checkpoint")
    fields = dict(decode_fields(table[b""]))
    if fields.get(2, 0) != 0:
        raise MalformedError("its tensors are big-endian, which is not supported")
    shards = fields.get(1, 0)
    if not isinstance(shards, int) or shards < 0:
        raise MalformedError(f"its header gives {shards!r} as the number of data files")
    return shards


def _encode_entry(
    dtype_number: int, shape: tuple[int, ...], offset: int, size: int, crc: int
) -> bytes:
    dimensions = b"".join(encode_field(2, encode_field(1, length)) for length in shape)
    return (
        encode_field(1, dtype_number)
        + encode_field(2, dimensions)
        + encode_field(4, offset)
        + encode_field(5, size)
        + encode_varint(6 << 3 | FIXED32)
        + struct.pack("<I", crc)
    )


def _decode_entry(message: bytes) -> _Entry:
    fields = {1: 0, 2: b"", 3: 0, 4: 0, 5: 0, 6: bytes(4), 7: None} | dict(decode_fields(message))
    kinds = {1: int, 2: bytes, 3: int, 4: int, 5: int, 6: bytes}
    if not all(isinstance(fields[number], kind) for number, kind in kinds.items()):
        raise MalformedError("an entry has a field of the wrong kind")
    dimensions = [value for number, value in decode_fields(fields[2]) if number == 2]
    if not all(isinstance(dimension, bytes) for dimension in dimensions):
        raise MalformedError("a shape has a dimension of the wrong kind")
    shape = tuple(dict(decode_fields(dimension)).get(1, 0) for dimension in dimensions)
    if not all(isinstance(length, int) for length in shape):
        raise MalformedError("a shape has a length of the wrong kind")
    crc = int.from_bytes(fields[6], "little")
    partitioned = fields[7] is not None
    return _Entry(fields[1], shape, fields[3], fields[4], fields[5], crc, partitioned)


def _load_index(path: str) -> dict[bytes, bytes]:
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path} is missing: there is no checkpoint of that prefix"
        ) from error
    try:
        return decode_table(data)
    except MalformedError as error:
        raise CheckpointError(f"{path} is no index of a checkpoint: {error}") from error
