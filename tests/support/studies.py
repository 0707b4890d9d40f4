"""Chest films for the acceptance tests: drawn, each a study of its own, and sent by C-STORE as a PACS sends them."""

from __future__ import annotations

import functools
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

from dicom_io.client.send import send
from dicom_io.create.radiograph import radiograph

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

LOCAL = "127.0.0.1"
SIDE = 256
SLOW_SIDE = 2600


def new_uid() -> str:
    """A UID nobody else has."""
    return f"2.25.{uuid.uuid4().int}"


def chest_film(opacity: float = 0.0, **elements: Any) -> Dataset:
    """A child's chest, the lungs from clear (0) to opacified (1), in a study of its own; 256 x 256."""
    trunk, lungs = _drawn()
    noise = np.random.default_rng(round(opacity * 1000)).normal(0, 40, trunk.shape)
    pixels = trunk * (1 - lungs * 0.75 * (1 - opacity)) + noise
    return _study(pixels.clip(0, 4095).astype(np.uint16), 12, elements)


def slow_film(**elements: Any) -> Dataset:
    """A chest film that takes its worker seconds to decode: noise, which JPEG 2000 cannot make small."""
    ds = _study(np.zeros((SLOW_SIDE, SLOW_SIDE), np.uint16), 16, elements)
    ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
    ds.PixelData = encapsulate([_slow_code_stream()])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return ds


def _study(pixels: NDArray[np.uint16], bits: int, elements: dict[str, Any]) -> Dataset:
    ds = radiograph(pixels, bits, (new_uid(), new_uid(), new_uid()))
    values = {"PatientAge": "003Y", "BodyPartExamined": "CHEST", "ViewPosition": "AP", **elements}
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


@functools.cache
def _drawn() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A bright trunk in front of dark air, and where its lungs are: cheap to draw, and no constant picture."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    trunk = 700 + 2600 * np.exp(-((x / 0.75) ** 4) - (y / 1.3) ** 4)
    lungs = sum(np.exp(-(((x - side) / 0.27) ** 4) - ((y + 0.1) / 0.6) ** 4) for side in (-0.42, 0.42))
    return trunk, np.asarray(lungs)


@functools.cache
def _slow_code_stream() -> bytes:
    import imagecodecs

    rng = np.random.default_rng(1)
    noise = rng.integers(0, 1 << 16, (SLOW_SIDE, SLOW_SIDE), dtype=np.uint16)
    return bytes(imagecodecs.jpeg2k_encode(noise, codecformat="j2k", reversible=True, level=0))


def push(films: Sequence[Dataset | Path], port: int, on_progress: Callable[[int], None] | None = None) -> None:
    """Send films by C-STORE; every one must be answered 0x0000."""
    results = send(films, LOCAL, port, on_progress=on_progress)
    assert [result.status for result in results] == [0] * len(films)
