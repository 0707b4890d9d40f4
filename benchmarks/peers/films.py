"""The four kinds of film that are sent, every one with pixels of its own.

Equal pixels would flatter a system that stores each picture once. So each film of a burst has noise of its own, and each
burst a window of its own, which makes other greys of the same stored values: to code new pictures for each burst would take
longer than to judge them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import imagecodecs
import numpy as np
from pydicom.encaps import encapsulate
from pydicom.uid import UID, generate_uid
from pynetdicom.dsutils import encode

from benchmarks.film import LARGE, SMALL, drawn
from dicom_io.create.phantom import demo_studies

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

T = TypeVar("T")
CACHE = Path(__file__).resolve().parents[2] / "build" / "bench-films"
EXPLICIT, JPEG_LOSSLESS, JPEG_2000 = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.90"
#: So little that a burst of it does not end before it has begun, and each film of it still differs in greys.
WINDOW_STEPS = 256


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of film: what it is called, how it is coded, and how many make a burst.

    A burst of the obvious way is shorter where a film takes it long: no more is learnt from 40 films than from 8. The slow kinds are sent in shorter bursts to every system.
    """

    key: str
    title: str
    size: tuple[int, int]
    bits: int
    syntax: str
    burst: int
    obvious_burst: int


KINDS = (
    Kind("raw", "uncompressed 2500x2048", LARGE, 12, EXPLICIT, 40, 20),
    Kind("j2k", "JPEG 2000 lossless 2500x2048", LARGE, 12, JPEG_2000, 16, 8),
    Kind("jll", "JPEG lossless 2500x2048", LARGE, 12, JPEG_LOSSLESS, 24, 10),
    Kind("small", "uncompressed 512x512, 8 bit", SMALL, 8, EXPLICIT, 40, 20),
)


@dataclass(frozen=True, slots=True)
class Film:
    """One object as it is sent: its class and UID, its transfer syntax, its encoded data set."""

    sop_class: str
    sop_uid: str
    syntax: str
    data: bytes


class Films:
    """Makes bursts of one kind; the pixel data are coded once and kept in `build/`."""

    def __init__(self, kind: Kind, count: int) -> None:
        self.kind = kind
        self._pixels = [self._coded(number) for number in range(count)]
        self._turn = 0

    @property
    def megabytes(self) -> float:
        """The size of one film."""
        return sum(map(len, self._pixels)) / len(self._pixels) / 1e6

    def burst(self, count: int) -> list[Film]:
        """So many films, each a study of its own, in a window that no burst before had."""
        self._turn += 1
        return list(self._films(count))

    def _films(self, count: int) -> Iterator[Film]:
        ds = self._header()
        for number in range(count):
            ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = (generate_uid() for _ in range(3))
            ds.PatientID, ds.PatientName = f"BENCH{number}", f"Bench^{number}"
            ds.PixelData = self._pixels[number % len(self._pixels)]
            ds["PixelData"].VR = "OW" if self.kind.bits > 8 and self.kind.syntax == EXPLICIT else "OB"
            ds["PixelData"].is_undefined_length = self.kind.syntax != EXPLICIT
            data = encode(ds, is_implicit_vr=False, is_little_endian=True)
            if data is None:
                raise ValueError("pydicom could not encode the film")
            yield Film(str(ds.SOPClassUID), str(ds.SOPInstanceUID), self.kind.syntax, data)

    def _header(self) -> Dataset:
        ds: Dataset = next(iter(demo_studies())).dataset
        ds.file_meta.TransferSyntaxUID = UID(self.kind.syntax)
        ds.Rows, ds.Columns = self.kind.size
        bits, whole = self.kind.bits, 1 << self.kind.bits
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = (16 if bits > 8 else 8), bits, bits - 1
        shift = (self._turn % WINDOW_STEPS) * whole / 512
        ds.WindowCenter, ds.WindowWidth = f"{whole / 2 + shift:g}", str(whole)
        return ds

    def _coded(self, number: int) -> bytes:
        """The value of the element Pixel Data of one film."""
        path = CACHE / f"{self.kind.key}-{number}.bin"
        if not path.exists():
            CACHE.mkdir(parents=True, exist_ok=True)
            pixels = drawn(self.kind.size, letters=True, seed=number)
            part = path.with_suffix(".part")
            part.write_bytes(_code(pixels, self.kind))
            part.rename(path)
        return path.read_bytes()


def _code(pixels: NDArray[np.uint16], kind: Kind) -> bytes:
    if kind.syntax == JPEG_2000:
        code = imagecodecs.jpeg2k_encode(
            pixels, codecformat="j2k", reversible=True, level=0, bitspersample=12, resolutions=6
        )
    elif kind.syntax == JPEG_LOSSLESS:
        code = imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=12)
    else:
        return (pixels if kind.bits > 8 else (pixels >> 4).astype(np.uint8)).tobytes()
    return encapsulate([bytes(code)])


def shares(films: Sequence[T], senders: int) -> list[Sequence[T]]:
    """Deal a burst out to so many senders."""
    return [films[sender::senders] for sender in range(senders)]
