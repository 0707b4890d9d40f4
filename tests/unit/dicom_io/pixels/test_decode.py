"""Every coding gives the stored values."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import pixel_array

from dicom_io.errors import FilmError
from dicom_io.film.film import film_of_dicom, film_of_picture
from dicom_io.pixels.decode import read_stored_pixels
from dicom_io.pixels.syntaxes import Decoder
from tests.support.collection import differences, expected, film_end
from tests.support.compressed import compressed, deflated
from tests.support.films import film, ramp, save

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

JPEG = "1.2.840.10008.1.2.4.50"
JPEG_12 = "1.2.840.10008.1.2.4.51"
JPEG_LL = "1.2.840.10008.1.2.4.70"
DEFLATED = "1.2.840.10008.1.2.8.1"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
HTJ2K = "1.2.840.10008.1.2.4.201"
RLE = "1.2.840.10008.1.2.5"
BYTES = ramp(dtype=np.uint8, top=255)
WORDS = ramp(top=4095)
COLOUR = np.dstack((BYTES, BYTES[::-1], BYTES // 2)).astype(np.uint8)


@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"]
)
@pytest.mark.parametrize(
    "pixels",
    [BYTES, WORDS, COLOUR, WORDS.astype(np.int16) - 99, BYTES[:129, :131]],
    ids=["8", "16", "rgb", "signed", "odd"],
)
def test_uncompressed_pixels_are_read(syntax: str, pixels: NDArray[Any], tmp_path: Path) -> None:
    data = read_stored_pixels(save(film(pixels, syntax=syntax), tmp_path)).pixels
    assert np.array_equal(data, pixels.astype(data.dtype))


def test_bytes_coded_as_big_endian_words_are_read(tmp_path: Path) -> None:
    ds = film(BYTES, syntax="1.2.840.10008.1.2.2", PixelData=BYTES.view("u2").byteswap().tobytes())
    ds["PixelData"].VR = "OW"
    assert np.array_equal(read_stored_pixels(save(ds, tmp_path)).pixels, BYTES)


def test_colours_stored_plane_by_plane_are_read(tmp_path: Path) -> None:
    ds = film(COLOUR, PlanarConfiguration=1, PixelData=np.moveaxis(COLOUR, -1, 0).tobytes())
    assert np.array_equal(read_stored_pixels(save(ds, tmp_path)).pixels, COLOUR)


@pytest.mark.parametrize(
    ("syntax", "encode", "pixels"),
    [
        (JPEG_LL, lambda a: imagecodecs.jpeg8_encode(a, lossless=True, bitspersample=12), WORDS),
        (JPEG_LL, lambda a: imagecodecs.jpeg8_encode(a, lossless=True), BYTES),
        (JPEG_LS, imagecodecs.jpegls_encode, WORDS),
        (JPEG_LS, imagecodecs.jpegls_encode, BYTES),
        (JPEG_LS, imagecodecs.jpegls_encode, COLOUR),
        (JPEG_2000, lambda a: imagecodecs.jpeg2k_encode(a, codecformat="j2k", reversible=True, level=0), WORDS),
        (JPEG_2000, lambda a: imagecodecs.jpeg2k_encode(a, codecformat="jp2", reversible=True, level=0), WORDS),
        (JPEG_2000, lambda a: imagecodecs.jpeg2k_encode(a, codecformat="j2k", reversible=True, level=0), COLOUR),
        (HTJ2K, imagecodecs.htj2k_encode, WORDS),
    ],
)
def test_a_lossless_coding_gives_the_stored_values(
    syntax: str, encode: Any, pixels: NDArray[Any], tmp_path: Path
) -> None:
    path = compressed(tmp_path, pixels, syntax, encode(pixels), BitsStored=12 if pixels is WORDS else 8)
    assert np.array_equal(read_stored_pixels(path).pixels, pixels)


@pytest.mark.parametrize(
    "pixels", [BYTES, WORDS, COLOUR, COLOUR.astype(np.uint16) * 16], ids=["grey 8", "grey 16", "rgb 8", "rgb 16"]
)
def test_rle_of_several_segments_gives_the_stored_values(pixels: NDArray[Any], tmp_path: Path) -> None:
    segments = []
    for plane in np.atleast_3d(pixels).transpose(2, 0, 1):
        stacked = plane.astype(plane.dtype.newbyteorder(">")).tobytes()
        size = plane.dtype.itemsize
        segments += [bytes(imagecodecs.packbits_encode(stacked[byte::size])) for byte in range(size)]
    offsets, at = [], 64
    for segment in segments:
        offsets.append(at)
        at += len(segment)
    head = struct.pack("<16L", len(segments), *offsets, *[0] * (15 - len(offsets)))
    path = compressed(tmp_path, pixels, RLE, head + b"".join(segments), PlanarConfiguration=0)
    assert np.array_equal(read_stored_pixels(path).pixels, pixels)


def test_jpeg_baseline_is_decoded_as_pillow_does(tmp_path: Path) -> None:
    code = bytes(imagecodecs.jpeg8_encode(BYTES, level=90))
    path = compressed(tmp_path, BYTES, JPEG, code)
    with Image.open(io.BytesIO(code)) as picture:
        assert np.array_equal(read_stored_pixels(path).pixels, np.asarray(picture))


def test_a_jpeg_put_into_dicom_as_it_is_has_the_film_of_the_jpeg(tmp_path: Path) -> None:
    pixels = np.random.default_rng(7).integers(0, 256, (530, 610), dtype=np.uint8)
    jpeg = tmp_path / "film.jpg"
    Image.fromarray(pixels).save(jpeg, quality=85)
    path = compressed(tmp_path, pixels, JPEG, jpeg.read_bytes())
    assert film_of_dicom(path).sha256 == film_of_picture(jpeg).sha256


def test_jpeg_of_12_bits_is_decoded(tmp_path: Path) -> None:
    code = bytes(imagecodecs.jpeg8_encode(WORDS, level=95, bitspersample=12))
    difference = (
        read_stored_pixels(compressed(tmp_path, WORDS, JPEG_12, code, BitsStored=12)).pixels.astype(int) - WORDS
    )
    assert np.abs(difference).max() < 60


def test_values_that_a_lossy_coding_overshot_are_clipped_not_wrapped(tmp_path: Path) -> None:
    overshot = np.where(WORDS > 1000, 1040, WORDS).astype(np.uint16)
    code = bytes(imagecodecs.jpegls_encode(overshot))
    path = compressed(tmp_path, WORDS, JPEG_LS, code, BitsStored=10)
    assert read_stored_pixels(path).pixels.max() == 1023
    assert read_stored_pixels(path).pixels[-1].min() == 1023


def test_signed_values_come_through_an_unsigned_coding(tmp_path: Path) -> None:
    signed = WORDS.astype(np.int16) - 2048
    code = bytes(imagecodecs.jpegls_encode((signed & 0xFFF).astype(np.uint16)))
    pixels = read_stored_pixels(compressed(tmp_path, signed, JPEG_LS, code, BitsStored=12)).pixels
    assert np.array_equal(pixels, signed.view(np.uint16) & 0xFFF)


@pytest.mark.parametrize(
    ("syntax", "encode", "decoder"),
    [
        (JPEG, imagecodecs.jpeg8_encode, Decoder.LIBJPEG_TURBO),
        (JPEG_LS, imagecodecs.jpegls_encode, Decoder.CHARLS),
        (JPEG_2000, lambda a: imagecodecs.jpeg2k_encode(a, codecformat="j2k"), Decoder.OPENJPEG),
        (HTJ2K, imagecodecs.htj2k_encode, Decoder.OPENJPH),
    ],
)
def test_a_film_says_which_decoder_read_it(syntax: str, encode: Any, decoder: Decoder, tmp_path: Path) -> None:
    path = compressed(tmp_path, BYTES, syntax, encode(BYTES))
    assert read_stored_pixels(path).decoder is decoder
    assert film_of_dicom(path).decoder == decoder.value


def test_a_frame_in_several_fragments_is_put_together(tmp_path: Path) -> None:
    code = bytes(imagecodecs.jpegls_encode(WORDS))
    ds = film(WORDS, syntax=JPEG_LS, BitsStored=12, PixelData=encapsulate([code], fragments_per_frame=5, has_bot=False))
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    assert np.array_equal(read_stored_pixels(save(ds, tmp_path)).pixels, WORDS)


@pytest.mark.parametrize("pixels", [BYTES, WORDS, COLOUR, BYTES[:129, :131]], ids=["8", "16", "rgb", "odd"])
def test_a_deflated_frame_gives_the_stored_values(pixels: NDArray[Any], tmp_path: Path) -> None:
    stored = read_stored_pixels(compressed(tmp_path, pixels, DEFLATED, deflated(pixels)))
    assert np.array_equal(stored.pixels, pixels)
    assert stored.decoder is Decoder.ZLIB


def test_a_stream_of_fewer_bits_than_stored_keeps_its_values(tmp_path: Path) -> None:
    path = compressed(tmp_path, WORDS, JPEG, bytes(imagecodecs.jpeg8_encode(BYTES, lossless=True)), BitsStored=12)
    assert np.array_equal(read_stored_pixels(path).pixels, BYTES)


@pytest.mark.parametrize("fill", [b"\0", b"\xff", b" ", b"\0" * 31, b"\0" * 3000])
def test_fill_behind_a_code_stream_does_no_harm(fill: bytes, tmp_path: Path) -> None:
    path = compressed(tmp_path, WORDS, JPEG_LS, bytes(imagecodecs.jpegls_encode(WORDS)) + fill, BitsStored=12)
    assert np.array_equal(read_stored_pixels(path).pixels, WORDS)


@pytest.mark.data
def test_every_grey_frame_of_the_collection_has_the_values_pydicom_reads(test_data: Path) -> None:
    compared, failed = 0, []
    for path in sorted((test_data / "dicom").rglob("*")):
        if not path.is_file() or path.suffix in (".md", ".tsv"):
            continue
        try:
            stored = read_stored_pixels(path)
        except FilmError:
            continue
        ds = dcmread(path, force=True)
        try:
            theirs = pixel_array(ds, raw=True)
        except Exception:  # noqa: BLE001 - what pydicom cannot read is no oracle
            continue
        if not stored.header.is_grey:
            continue
        compared += 1
        ours = stored.pixels.astype(np.int64)
        if not np.array_equal(ours, (theirs.astype(np.int64) >> 0) & stored.header.mask):
            failed.append(path.name)
    assert failed == []
    assert compared > 100


@pytest.mark.data
def test_every_file_of_the_collection_makes_the_film_of_the_table_or_fails_by_name(test_data: Path) -> None:
    rows = expected().values()
    found = {row.file: film_end(test_data / "dicom" / row.file) for row in rows}
    assert differences({row.file: (row.film, row.decoder) for row in rows}, found) == []
