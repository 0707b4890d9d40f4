"""Limits on the memory and disk that the files of a bundle claim, checked before anything is allocated.

A bundle may come from anybody. Its digests prove that a file is the one that was written, not that it is harmless: a
few bytes can claim any amount of memory or disk.
"""

from __future__ import annotations

import math
import zipfile
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MAX_NETWORK_BYTES = 1 << 30
"""Limit of a network's file, and of all its tensors in memory; networks in use are far smaller."""

MAX_OTHER_BYTES = 16 << 20
"""Limit of any other file of a bundle, and of an array in one."""

MAX_RATIO = 20
"""An archive may unpack to this many times its own size: networks do not shrink, texts shrink 5 to 10 times."""

MAX_INPUT_SIDE = 2048
"""Limit of the side of a network's input, in pixels; films are reduced to a quarter of it."""

_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED = 0x1
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def archive_fits(members: Iterable[zipfile.ZipInfo], size: int) -> bool:
    """Whether members of an archive of ``size`` bytes may be unpacked: they are in proportion and read in pieces."""
    listed = list(members)
    total = sum(member.file_size for member in listed)
    return total <= max(MAX_RATIO * size, MAX_OTHER_BYTES) and all(
        member.compress_type in _METHODS and not member.flag_bits & _ENCRYPTED for member in listed
    )


def arrays_fit(stream: BinaryIO) -> bool:
    """Whether the arrays of a NumPy archive are no larger than any of a bundle.

    Raises
    ------
    OSError, EOFError, ValueError, zipfile.BadZipFile
        If it is not such an archive.
    """
    with zipfile.ZipFile(stream) as archive:
        listed = archive.infolist()
        if not archive_fits(listed, _length(stream)) or any(item.file_size > MAX_OTHER_BYTES for item in listed):
            return False
        for item in listed:
            with archive.open(item) as member:
                read_header = _HEADERS.get(np.lib.format.read_magic(member))
                if read_header is None:
                    return False
                shape, _, dtype = read_header(member)
                if math.prod(shape) * dtype.itemsize > MAX_OTHER_BYTES:
                    return False
    return True


def tensors_fit(details: Iterable[dict[str, Any]]) -> bool:
    """Whether the tensors of a network for LiteRT fit into memory, by the details that an interpreter gives."""
    sizes = (math.prod(int(side) for side in item["shape"]) * np.dtype(item["dtype"]).itemsize for item in details)
    return bool(sum(sizes) <= MAX_NETWORK_BYTES)


def network_fits(path: Path) -> bool:
    """Whether a network for Keras fits into memory, by the sizes of its archive's members and of the weights in it.

    A file that is not an archive fits: Keras reports what is wrong with it. Needs h5py, which comes with Keras.
    """
    import h5py  # type: ignore[import-untyped]

    try:
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            if not archive_fits(archive.infolist(), _length(stream)):
                return False
            with archive.open("model.weights.h5") as member, h5py.File(member, "r") as weights:
                sizes: list[int] = []
                weights.visititems(
                    lambda _, item: sizes.append(item.nbytes) if isinstance(item, h5py.Dataset) else None
                )
    except zipfile.BadZipFile:
        return True
    except (OSError, KeyError, ValueError, RuntimeError):
        return False
    return sum(sizes) <= MAX_NETWORK_BYTES


def _length(stream: BinaryIO) -> int:
    position = stream.tell()
    length = stream.seek(0, 2)
    stream.seek(position)
    return length
