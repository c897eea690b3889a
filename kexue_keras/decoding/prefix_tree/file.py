"""The single-file format of `PrefixTree`: a checked header, then raw arrays that are memory-mapped.

The first 4096 bytes are the header: magic, format version, a JSON description (array names, types,
lengths, positions, size of the whole file, checksum of everything after the header) and a CRC-32 of
the header itself. Opening reads the header alone, so it takes the same time whatever the size.
"""

import json
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from kexue_keras.files import replacing

MAGIC = b"KXPREFIX"
FORMAT_VERSION = 2
HEADER_SIZE = 4096
_ALIGNMENT = 64
_COPY_BYTES = 1 << 24
_PREAMBLE = struct.Struct("<8sII")
_CHECKSUM = struct.Struct("<I")


def write_arrays(path: str | Path, meta: Mapping[str, int], arrays: Mapping[str, np.ndarray]):
    """Write `meta` and one-dimensional `arrays` atomically: temporary file, fsync, rename.

    Args:
        path: file to create or replace. Its folder must exist.
        meta: small numbers kept in the header.
        arrays: one-dimensional arrays of any little-endian numeric type, in file order.

    Example:

    >>> import os, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> name = os.path.join(folder.name, "numbers.bin")
    >>> write_arrays(name, {"answer": 42}, {"x": np.arange(3, dtype="uint16")})
    >>> meta, arrays = read_arrays(name)
    >>> meta["answer"], arrays["x"].tolist()
    (42, [0, 1, 2])
    >>> folder.cleanup()
    """
    path = Path(path)
    sections, position = {}, HEADER_SIZE
    for name, array in arrays.items():
        sections[name] = [array.dtype.str, len(array), position]
        position += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
    with replacing(path) as temporary, open(temporary, "xb") as file:
        file.write(bytes(HEADER_SIZE))
        checksum = 0
        for array in arrays.values():
            content = memoryview(np.ascontiguousarray(array).view(np.uint8))
            for start in range(0, len(content), _COPY_BYTES):
                piece = content[start : start + _COPY_BYTES]
                checksum = zlib.crc32(piece, checksum)
                file.write(piece)
            padding = bytes(-len(content) % _ALIGNMENT)
            checksum = zlib.crc32(padding, checksum)
            file.write(padding)
        file.seek(0)
        file.write(_header(dict(meta), sections, position, checksum))


def _header(meta: dict, sections: dict, file_size: int, checksum: int) -> bytes:
    description = json.dumps(
        {"meta": meta, "sections": sections, "file_size": file_size, "checksum": checksum}
    ).encode()
    header = _PREAMBLE.pack(MAGIC, FORMAT_VERSION, len(description)) + description
    if len(header) > HEADER_SIZE - _CHECKSUM.size:
        raise ValueError(f"`meta` and the array names do not fit in {HEADER_SIZE} bytes.")
    header = header.ljust(HEADER_SIZE - _CHECKSUM.size, b"\0")
    return header + _CHECKSUM.pack(zlib.crc32(header))


def read_arrays(path: str | Path, verify: bool = False) -> tuple[dict, dict[str, np.ndarray]]:
    """Open a file of `write_arrays`; the arrays are read-only memory maps.

    Args:
        path: file to open.
        verify: also read the whole file and compare its checksum.

    Returns:
        `(meta, arrays)` as they were given to `write_arrays`.

    Raises:
        ValueError: foreign file, other format version, damaged header, any truncation or extension;
            with `verify` any changed byte.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        header = file.read(HEADER_SIZE)
        if header[: len(MAGIC)] != MAGIC:
            raise ValueError(f"`path` is no prefix tree file. Received: {path}")
        if len(header) < HEADER_SIZE:
            raise ValueError(f"`path` is truncated: {size} bytes. Received: {path}")
        _, version, length = _PREAMBLE.unpack_from(header)
        if version != FORMAT_VERSION:
            raise ValueError(
                f"`path` must have format version {FORMAT_VERSION}. Received: {version} in {path}"
            )
        body = header[: -_CHECKSUM.size]
        if _CHECKSUM.unpack(header[-_CHECKSUM.size :])[0] != zlib.crc32(body):
            raise ValueError(f"`path` has a damaged header. Received: {path}")
        description = json.loads(body[_PREAMBLE.size : _PREAMBLE.size + length])
        if size != description["file_size"]:
            raise ValueError(
                f"`path` must be {description['file_size']} bytes long. Received: {size} in {path}"
            )
        if verify:
            checksum = 0
            while piece := file.read(_COPY_BYTES):
                checksum = zlib.crc32(piece, checksum)
            if checksum != description["checksum"]:
                raise ValueError(f"`path` is damaged: its checksum differs. Received: {path}")
    content = np.memmap(path, dtype=np.uint8, mode="r").view(np.ndarray)
    arrays = {}
    for name, (dtype, length, position) in description["sections"].items():
        stop = position + length * np.dtype(dtype).itemsize
        arrays[name] = content[position:stop].view(dtype)
    return description["meta"], arrays
