"""Code streams to break the decoding with: real ones of every coding, mutations of them, and sizes that lie.

Everything goes to ``read_stored_pixels`` as a file, in a child that ``bounded`` starts: the child's end is the test's.
"""

from __future__ import annotations

import io
import random
import struct
import tempfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
from PIL import Image
from pydicom.pixels.encoders.base import RLELosslessEncoder

from dicom_io.errors import FilmError
from dicom_io.header.file_meta import ObjectUids, Sender, encode_file_meta
from dicom_io.pixels.decode import read_frame, read_stored_pixels
from dicom_io.pixels.openjpeg import CodeStream
from dicom_io.pixels.syntaxes import Decoder
from dicom_io.pixels.wavelet import wavelet_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

ITEM = b"\xfe\xff\x00\xe0"
DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"
JPEG, JPEG_12, JPEG_SV1, JPEG_LS, J2K, HTJ2K = (f"1.2.840.10008.1.2.4.{last}" for last in (50, 51, 70, 80, 90, 201))
RLE, DEFLATED = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.8.1"
ROWS, COLUMNS = 80, 96


class Seed:
    """A code stream that can be read, and what its header says."""

    def __init__(self, syntax: str, pixels: NDArray[Any], code: bytes | bytearray, bits: int = 0) -> None:
        self.syntax, self.code = syntax, bytes(code)
        self.samples = 3 if pixels.ndim == 3 else 1
        self.allocated = pixels.dtype.itemsize * 8
        self.bits = bits or self.allocated

    def file(self, code: bytes, rows: int = ROWS, columns: int = COLUMNS) -> bytes:
        """A file with another code stream in place of the seed's."""
        code += bytes(len(code) % 2)
        return self.file_of(ITEM + bytes(4) + ITEM + struct.pack("<L", len(code)) + code + DELIMITER, rows, columns)

    def file_of(self, value: bytes, rows: int = ROWS, columns: int = COLUMNS) -> bytes:
        """A file with this value of undefined length as its pixel data."""
        photometric = b"RGB " if self.samples == 3 else b"MONOCHROME2 "
        shorts = {
            0x00280002: self.samples,
            0x00280010: rows,
            0x00280011: columns,
            0x00280100: self.allocated,
            0x00280101: self.bits,
            0x00280102: self.bits - 1,
            0x00280103: 0,
        }
        texts = struct.pack("<HH2sH", 0x28, 4, b"CS", len(photometric)) + photometric
        elements = {0x00280004: texts}
        elements |= {tag: struct.pack("<HH2sHH", 0x28, tag & 0xFFFF, b"US", 2, n) for tag, n in shorts.items()}
        modality = struct.pack("<HH2sH", 8, 0x60, b"CS", 2) + b"DX"
        pixels = struct.pack("<HH2sHL", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF) + value
        meta = encode_file_meta(ObjectUids("1.2.3", "1.2.3.4", self.syntax), Sender("T", "", "127.0.0.1"), "T")
        return meta + modality + b"".join(elements[tag] for tag in sorted(elements)) + pixels


def seeds() -> list[Seed]:
    """A stream of every coding, as several real encoders write them."""
    rng = np.random.default_rng(1)
    smooth = np.linspace(0, 1, ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    grey = (smooth * 235 + rng.integers(0, 20, smooth.shape)).astype(np.uint8)
    deep = (smooth * 4000 + rng.integers(0, 95, smooth.shape)).astype(np.uint16)
    colour = np.dstack((grey, 255 - grey, grey[::-1]))
    jpeg, j2k, htj2k = imagecodecs.jpeg8_encode, imagecodecs.jpeg2k_encode, imagecodecs.htj2k_encode
    lossless: dict[str, Any] = {"lossless": True, "bitspersample": 12}
    return [
        Seed(JPEG, grey, jpeg(grey)),
        Seed(JPEG, colour, jpeg(colour)),
        Seed(JPEG, grey, _by_pillow(grey, progressive=True)),
        Seed(JPEG, grey, _by_pillow(grey, restart_marker_rows=1)),
        Seed(JPEG_12, deep, jpeg(deep, bitspersample=12), 12),
        Seed(JPEG_SV1, deep, jpeg(deep, predictor=1, **lossless), 12),
        Seed(JPEG_SV1, deep, jpeg(deep, predictor=6, **lossless), 12),
        Seed(JPEG_SV1, colour, jpeg(colour, lossless=True)),
        Seed(JPEG_LS, grey, imagecodecs.jpegls_encode(grey, level=3)),
        Seed(JPEG_LS, deep, imagecodecs.jpegls_encode(deep)),
        Seed(JPEG_LS, colour, imagecodecs.jpegls_encode(colour)),
        Seed(J2K, grey, j2k(grey, codecformat="j2k", reversible=True, level=0, resolutions=3)),
        Seed(J2K, deep, j2k(deep, codecformat="jp2", level=60)),
        Seed(J2K, colour, j2k(colour, codecformat="j2k", level=60)),
        Seed(HTJ2K, deep, htj2k(deep)),
        Seed(HTJ2K, deep, htj2k(deep, tile=(32, 32))),
        Seed(HTJ2K, grey, htj2k(grey, reversible=False, level=0.01)),
        Seed(HTJ2K, colour, htj2k(colour)),
        Seed(RLE, grey, rle(grey)),
        Seed(RLE, deep, rle(deep)),
        Seed(DEFLATED, deep, deflate(deep.tobytes())),
    ]


def _by_pillow(pixels: NDArray[Any], **options: Any) -> bytes:
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "JPEG", **options)
    return target.getvalue()


def rle(pixels: NDArray[Any]) -> bytes:
    bits = pixels.dtype.itemsize * 8
    return RLELosslessEncoder.encode(
        pixels.tobytes(),
        rows=pixels.shape[0],
        columns=pixels.shape[1],
        samples_per_pixel=1,
        number_of_frames=1,
        bits_allocated=bits,
        bits_stored=bits,
        pixel_representation=0,
        photometric_interpretation="MONOCHROME2",
        encoding_plugin="pydicom",
    )


def deflate(data: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return machine.compress(data) + machine.flush()


def mutated(code: bytes, chance: random.Random) -> bytes:
    """One of the many ways in which a stream is damaged; its header more often than the rest."""
    data = bytearray(code)
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        at = chance.randrange(min(len(data), 250) if chance.random() < 0.7 else len(data))
        other, length = chance.randrange(len(data)), chance.randrange(1, 60)
        match chance.randrange(7):
            case 0 | 1:
                data[at] ^= 1 << chance.randrange(8)
            case 2 | 3:
                data[at : at + 2] = chance.choice((b"\0\0", b"\xff\xff", b"\x7f\xff", b"\x80\0", b"\xff"))
            case 4:
                del data[at : at + length]
            case 5:
                data[at:at] = data[other : other + length]
            case _:
                data[max(at, 4) :] = data[-2:] if chance.random() < 0.7 else b""
        if len(data) < 5:
            break
    return bytes(data)


def end_of(data: bytes, path: Path) -> str:
    """How the reading of a file ends: a reason, or "" with pixels. Nothing else may come out of it, nor of its parts."""
    path.write_bytes(data)
    with suppress(FilmError):
        _read_parts(path)
    try:
        stored = read_stored_pixels(path)
    except FilmError as error:
        return str(error.reason)
    if stored.pixels.shape != stored.header.shape or stored.pixels.dtype.itemsize * 8 != stored.header.bits_allocated:
        raise AssertionError
    return ""


def _read_parts(path: Path) -> None:
    """Decode parts of a JPEG 2000 picture, which overlap, as films do."""
    wavelet = wavelet_of(read_frame(path))
    if wavelet is None or wavelet.decoder is not Decoder.OPENJPEG:
        return
    rows, columns = wavelet.rows, wavelet.columns
    with CodeStream(wavelet.data) as code:
        for part in ((0, 0, min(rows, 16), min(columns, 16)), (rows // 3, columns // 4, rows, columns)):
            code.window(*part)


def ends_of_mutations(seed: int, times: int) -> dict[str, int]:
    """Count the ends of mutated streams of every coding."""
    chance, ends = random.Random(seed), dict[str, int]()
    with tempfile.TemporaryDirectory(prefix="auscult-fuzz-") as folder:
        path = Path(folder, "film.dcm")
        for stream in seeds():
            if end := end_of(stream.file(stream.code), path):
                raise AssertionError(end)
            for _ in range(times):
                end = end_of(stream.file(mutated(stream.code, chance)), path)
                ends[end] = ends.get(end, 0) + 1
    return ends


def ends_of_wide_steps() -> list[str]:
    """The ends of HTJ2K streams whose quantisation gives a coefficient more bits than a word has."""
    ends = []
    with tempfile.TemporaryDirectory(prefix="auscult-fuzz-") as folder:
        for stream in seeds():
            at = stream.code.find(b"\xff\x5c") + 5
            if stream.syntax == HTJ2K:
                # reversible streams are made irreversible too: their steps have no mantissas
                style = stream.code.index(b"\xff\x52") + 13
                wide = stream.code[: at + 6] + b"\xff\xff" + stream.code[at + 8 :]
                end = end_of(stream.file(wide[:style] + b"\0" + wide[style + 1 :]), Path(folder, "film.dcm"))
                ends.append(end)
    return ends


def ends_of_cuts() -> dict[str, int]:
    """Count the ends of streams cut short anywhere, with nothing behind and with the marker of the end."""
    ends = dict[str, int]()
    with tempfile.TemporaryDirectory(prefix="auscult-fuzz-") as folder:
        path = Path(folder, "film.dcm")
        for stream in seeds():
            for share in (0.02, 0.2, 0.5, 0.9, 0.99):
                end = end_of(stream.file(stream.code[: int(len(stream.code) * share)]), path)
                ends[f"{stream.syntax} {end}"] = ends.get(f"{stream.syntax} {end}", 0) + 1
    return ends


def ends_of_files(folder: Path, seed: int, largest: int) -> dict[str, int]:
    """Count the ends of real files, each mutated once somewhere."""
    chance, ends = random.Random(seed), dict[str, int]()
    with tempfile.TemporaryDirectory(prefix="auscult-fuzz-") as scratch:
        for original in sorted(folder.rglob("*")):
            if original.is_file() and original.stat().st_size <= largest:
                data = bytearray(original.read_bytes())
                at = data.find(ITEM) % len(data)
                del data[len(data) - chance.choice((0, 0, 100)) :]
                data[at:] = mutated(bytes(data[at:]) + b"\0" * 5, chance)
                end = end_of(bytes(data), Path(scratch, "film.dcm"))
                ends[end] = ends.get(end, 0) + 1
    return ends
