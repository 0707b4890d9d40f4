from __future__ import annotations

import io
import pickle
import struct
import sys
import types

import numpy as np
import pytest

from model.errors import TrainingError
from model.network import start_weights
from model.network.start_weights import imagenet_lite0, read_tensors


class _Storage:
    def __init__(self, key: str, numbers: np.ndarray) -> None:
        self.key, self.numbers = key, numbers


class _Writer(pickle.Pickler):
    """Writes as PyTorch before 1.6 did: storages stand outside the table, as persistent ids."""

    def persistent_id(self, obj):
        if not isinstance(obj, _Storage):
            return None
        kind = "FloatStorage" if obj.numbers.dtype == np.float32 else "LongStorage"
        return ("storage", getattr(sys.modules["torch"], kind), obj.key, "cpu", len(obj.numbers), None)


class _Rebuilt:
    def __init__(self, *arguments) -> None:
        self.arguments = arguments

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


@pytest.fixture
def torch_names(monkeypatch):
    """Names that a pickle of PyTorch's refers to; they are only written here, never called."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in ("FloatStorage", "LongStorage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2(*_):
        raise AssertionError("only named")

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    vars(utils)["_rebuild_tensor_v2"] = _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


def written(table, storages) -> bytes:
    stream = io.BytesIO()
    for header in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        pickle.dump(header, stream, protocol=2)
    _Writer(stream, protocol=2).dump(table)
    pickle.dump([storage.key for storage in storages], stream, protocol=2)
    for storage in storages:
        stream.write(struct.pack("<q", len(storage.numbers)) + storage.numbers.tobytes())
    return stream.getvalue()


@pytest.mark.usefixtures("torch_names")
def test_tensors_come_in_their_shape_whatever_their_strides():
    numbers = _Storage("7", np.arange(24, dtype="<f4"))
    counter = _Storage("8", np.array([3], dtype="<i8"))
    table = {
        "turned": _Rebuilt(numbers, 0, (4, 6), (1, 4), False, {}),
        "part": _Rebuilt(numbers, 6, (2, 3), (3, 1), False, {}),
        "count": _Rebuilt(counter, 0, (), (), False, {}),
    }
    found = read_tensors(io.BytesIO(written(table, [numbers, counter])))
    assert sorted(found) == ["part", "turned"]
    assert np.array_equal(found["turned"], np.arange(24, dtype=np.float32).reshape(6, 4).T)
    assert np.array_equal(found["part"], np.arange(6, 12, dtype=np.float32).reshape(2, 3))


def test_a_table_that_names_anything_else_runs_nothing(tmp_path):
    class Harm:
        def __reduce__(self):
            return open, (str(tmp_path / "harm"), "w")

    with pytest.raises(TrainingError, match="no tensors"):
        read_tensors(io.BytesIO(written({"x": Harm()}, [])))
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("torch_names")
@pytest.mark.parametrize("shape", [(5, 5), (25,)])
def test_a_tensor_that_reaches_beyond_its_numbers_is_refused(shape):
    numbers = _Storage("7", np.arange(24, dtype="<f4"))
    strides = (5, 1) if len(shape) == 2 else (1,)
    with pytest.raises(TrainingError, match="no tensors"):
        read_tensors(io.BytesIO(written({"x": _Rebuilt(numbers, 0, shape, strides, False, {})}, [numbers])))


@pytest.mark.usefixtures("torch_names")
def test_a_file_that_is_cut_short_is_refused():
    numbers = _Storage("7", np.arange(24, dtype="<f4"))
    whole = written({"x": _Rebuilt(numbers, 0, (24,), (1,), False, {})}, [numbers])
    for length in (0, 20, len(whole) - 1):
        with pytest.raises(TrainingError, match="no tensors"):
            read_tensors(io.BytesIO(whole[:length]))


def test_start_weights_that_are_not_installed_or_not_the_known_ones_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(start_weights, "PACKAGE", "no_such_package_of_weights")
    with pytest.raises(TrainingError, match="install auscult with the extra 'train'"):
        imagenet_lite0()
    package = tmp_path / "other_weights"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / start_weights.WEIGHTS_FILE).write_bytes(b"other")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(start_weights, "PACKAGE", "other_weights")
    with pytest.raises(TrainingError, match="not the known ones"):
        imagenet_lite0()


def test_what_the_first_layer_makes_of_an_average_colour_is_what_it_saw_on_average_on_imagenet():
    """A check of order, shape and centring against statistics that the file itself holds."""
    tensors = imagenet_lite0()
    average = (np.array([0.485, 0.456, 0.406]) * 255 - 127) / 128  # of ImageNet's training pictures
    expected = tensors["_conv_stem.weight"].sum(axis=(2, 3)) @ average
    assert np.corrcoef(expected, tensors["_bn0.running_mean"])[0, 1] > 0.95
    assert len(tensors) == 247
