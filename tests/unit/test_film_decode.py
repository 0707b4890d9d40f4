"""Decoding: every coding gives the stored values, and what is damaged or hostile is refused by name, early."""

from __future__ import annotations

import io
import struct
import sys
import time
import zlib
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import pixel_array

from dicom_io.codestream import declared_by
from dicom_io.decode import read_stored
from dicom_io.errors import FilmError
from dicom_io.film import film_of_dicom, film_of_picture
from dicom_io.limits import MAX_SEGMENTS
from dicom_io.reasons import Reason
from dicom_io.syntaxes import CODINGS, Coding, Decoder
from tests.collection import differences, expected, film_end
from tests.films import film, ramp, save

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

JPEG, JPEG_12, JPEG_LL = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.70"
DEFLATED = "1.2.840.10008.1.2.8.1"
JPEG_LS, JPEG_2000, HTJ2K, RLE = (
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.5",
)
BYTES = ramp(dtype=np.uint8, top=255)
WORDS = ramp(top=4095)
COLOUR = np.dstack((BYTES, BYTES[::-1], BYTES // 2)).astype(np.uint8)


def compressed(folder: Path, pixels: NDArray[Any], syntax: str, code: bytes, **elements: Any) -> Path:
    """A film whose one frame is the given code stream."""
    ds = film(pixels, syntax=syntax, PixelData=encapsulate([code]), **elements)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return save(ds, folder)


def refusal(path: Path) -> Reason:
    with pytest.raises(FilmError) as caught:
        film_of_dicom(path)
    return caught.value.reason


@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"]
)
@pytest.mark.parametrize(
    "pixels",
    [BYTES, WORDS, COLOUR, WORDS.astype(np.int16) - 99, BYTES[:129, :131]],
    ids=["8", "16", "rgb", "signed", "odd"],
)
def test_uncompressed_pixels_are_read(syntax: str, pixels: NDArray[Any], tmp_path: Path) -> None:
    data = read_stored(save(film(pixels, syntax=syntax), tmp_path)).pixels
    assert np.array_equal(data, pixels.astype(data.dtype))


def test_bytes_coded_as_big_endian_words_are_read(tmp_path: Path) -> None:
    ds = film(BYTES, syntax="1.2.840.10008.1.2.2", PixelData=BYTES.view("u2").byteswap().tobytes())
    ds["PixelData"].VR = "OW"
    assert np.array_equal(read_stored(save(ds, tmp_path)).pixels, BYTES)


def test_colours_stored_plane_by_plane_are_read(tmp_path: Path) -> None:
    ds = film(COLOUR, PlanarConfiguration=1, PixelData=np.moveaxis(COLOUR, -1, 0).tobytes())
    assert np.array_equal(read_stored(save(ds, tmp_path)).pixels, COLOUR)


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
    assert np.array_equal(read_stored(path).pixels, pixels)


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
    assert np.array_equal(read_stored(path).pixels, pixels)


def test_jpeg_baseline_is_decoded_as_pillow_does(tmp_path: Path) -> None:
    code = bytes(imagecodecs.jpeg8_encode(BYTES, level=90))
    path = compressed(tmp_path, BYTES, JPEG, code)
    with Image.open(io.BytesIO(code)) as picture:
        assert np.array_equal(read_stored(path).pixels, np.asarray(picture))


def test_a_jpeg_put_into_dicom_as_it_is_has_the_film_of_the_jpeg(tmp_path: Path) -> None:
    pixels = np.random.default_rng(7).integers(0, 256, (530, 610), dtype=np.uint8)
    jpeg = tmp_path / "film.jpg"
    Image.fromarray(pixels).save(jpeg, quality=85)
    path = compressed(tmp_path, pixels, JPEG, jpeg.read_bytes())
    assert film_of_dicom(path).sha256 == film_of_picture(jpeg).sha256


def test_jpeg_of_12_bits_is_decoded(tmp_path: Path) -> None:
    code = bytes(imagecodecs.jpeg8_encode(WORDS, level=95, bitspersample=12))
    difference = read_stored(compressed(tmp_path, WORDS, JPEG_12, code, BitsStored=12)).pixels.astype(int) - WORDS
    assert np.abs(difference).max() < 60


def test_values_that_a_lossy_coding_overshot_are_clipped_not_wrapped(tmp_path: Path) -> None:
    overshot = np.where(WORDS > 1000, 1040, WORDS).astype(np.uint16)
    code = bytes(imagecodecs.jpegls_encode(overshot))
    path = compressed(tmp_path, WORDS, JPEG_LS, code, BitsStored=10)
    assert read_stored(path).pixels.max() == 1023
    assert read_stored(path).pixels[-1].min() == 1023


def test_signed_values_come_through_an_unsigned_coding(tmp_path: Path) -> None:
    signed = WORDS.astype(np.int16) - 2048
    code = bytes(imagecodecs.jpegls_encode((signed & 0xFFF).astype(np.uint16)))
    pixels = read_stored(compressed(tmp_path, signed, JPEG_LS, code, BitsStored=12)).pixels
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
    assert read_stored(path).decoder is decoder
    assert film_of_dicom(path).decoder == decoder.value


def test_a_frame_in_several_fragments_is_put_together(tmp_path: Path) -> None:
    code = bytes(imagecodecs.jpegls_encode(WORDS))
    ds = film(WORDS, syntax=JPEG_LS, BitsStored=12, PixelData=encapsulate([code], fragments_per_frame=5, has_bot=False))
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    assert np.array_equal(read_stored(save(ds, tmp_path)).pixels, WORDS)


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422"])
def test_grey_stored_as_ybr_is_the_same_grey(photometric: str, tmp_path: Path) -> None:
    if photometric == "YBR_FULL":
        pixels = np.dstack((BYTES, np.full_like(BYTES, 128), np.full_like(BYTES, 128)))
        ds = film(pixels, PhotometricInterpretation=photometric)
    else:
        grey = BYTES.reshape(160, 128, 2)
        neutral = np.full_like(grey, 128)
        packed = np.concatenate((grey, neutral), axis=2)
        ds = film(np.dstack([BYTES] * 3), PhotometricInterpretation=photometric, PixelData=packed.tobytes())
    assert np.array_equal(film_of_dicom(save(ds, tmp_path)).pixels, BYTES)


def test_grey_stored_as_rgb_is_the_same_grey(tmp_path: Path) -> None:
    assert np.array_equal(film_of_dicom(save(film(np.dstack([BYTES] * 3)), tmp_path)).pixels, BYTES)
    deep = np.dstack([BYTES.astype(np.uint16) << 8] * 3)
    assert np.array_equal(film_of_dicom(save(film(deep), tmp_path)).pixels, BYTES)


def test_grey_in_a_palette_is_the_same_grey(tmp_path: Path) -> None:
    elements: dict[str, Any] = {}
    for colour in ("Red", "Green", "Blue"):
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        elements[f"{colour}PaletteColorLookupTableData"] = (np.arange(256, dtype="<u2") * 257).tobytes()
    ds = film(255 - BYTES, PhotometricInterpretation="PALETTE COLOR", **elements)
    assert np.array_equal(film_of_dicom(save(ds, tmp_path)).pixels, 255 - BYTES)


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"PixelData": None}, Reason.NO_PIXEL_DATA),
        ({"PixelData": b""}, Reason.NO_PIXEL_DATA),
        ({"NumberOfFrames": "2"}, Reason.MULTI_FRAME),
        ({"PhotometricInterpretation": None}, Reason.UNSUPPORTED_PHOTOMETRIC),
        ({"PhotometricInterpretation": "RGB"}, Reason.UNSUPPORTED_PHOTOMETRIC),
        ({"PhotometricInterpretation": "HSV"}, Reason.UNSUPPORTED_PHOTOMETRIC),
        ({"SamplesPerPixel": 2}, Reason.UNSUPPORTED_PHOTOMETRIC),
        ({"BitsAllocated": 32, "BitsStored": 32}, Reason.UNSUPPORTED_PHOTOMETRIC),
        ({"BitsStored": 17}, Reason.UNSUPPORTED_PHOTOMETRIC),
        ({"BitsStored": 0}, Reason.UNSUPPORTED_PHOTOMETRIC),
        ({"Rows": None}, Reason.DECODE_FAILED),
        ({"Columns": 0}, Reason.DECODE_FAILED),
        ({"Rows": 161}, Reason.DECODE_FAILED),
        ({"Rows": 60000, "Columns": 60000}, Reason.TOO_LARGE),
        ({"Rows": 100, "Columns": 100}, Reason.TOO_SMALL),
        ({"PixelData": bytes(160 * 256 * 2)}, Reason.CONSTANT_PICTURE),
    ],
)
def test_what_no_film_can_be_made_of_has_its_reason(elements: dict[str, Any], reason: Reason, tmp_path: Path) -> None:
    assert refusal(save(film(WORDS, **elements), tmp_path)) is reason


@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.102", "1.2.3"]
)
def test_a_coding_outside_the_table_is_refused(syntax: str, tmp_path: Path) -> None:
    path = compressed(tmp_path, WORDS, JPEG_LS, b"\xff\xd8")
    path.write_bytes(path.read_bytes().replace(JPEG_LS.encode().ljust(22, b"\0"), syntax.encode().ljust(22, b"\0"), 1))
    assert refusal(path) is Reason.UNSUPPORTED_TRANSFER_SYNTAX


def test_a_text_file_is_no_dicom(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("no film")
    assert refusal(path) is Reason.NOT_DICOM


def sof(marker: int, rows: int, columns: int, precision: int = 8) -> bytes:
    """A JPEG that declares any size and holds next to nothing."""
    frame = struct.pack(">BBHBHHB3B", 0xFF, marker, 11, precision, rows, columns, 1, 1, 0x11, 0)
    scan = struct.pack(">BBHB2B3B", 0xFF, 0xDA, 8, 1, 1, 0, 1, 0, 0)
    return b"\xff\xd8" + frame + scan + b"\x00" * 8 + b"\xff\xd9"


def size_segment(rows: int, columns: int, tile: int = 1 << 16) -> bytes:
    """A JPEG 2000 code stream that declares any size and holds nothing."""
    head = struct.pack(">HHHIIIIIIIIH", 0xFF51, 41, 0, columns, rows, 0, 0, tile, tile, 0, 0, 1)
    return b"\xff\x4f" + head + bytes((15, 1, 1)) + b"\xff\xd9"


@pytest.mark.parametrize(
    ("syntax", "code"),
    [
        (JPEG, sof(0xC0, 60_000, 60_000)),
        (JPEG_12, sof(0xC1, 60_000, 60_000, 12)),
        (JPEG_LL, sof(0xC3, 60_000, 60_000, 12)),
        (JPEG_LS, sof(0xF7, 60_000, 60_000, 12)),
        (JPEG_2000, size_segment(60_000, 60_000)),
        (HTJ2K, size_segment(60_000, 60_000)),
        (JPEG_2000, size_segment(160, 256, tile=1)),
        (RLE, struct.pack("<16L", 15, *range(64, 79))),
    ],
    ids=["jpeg", "jpeg 12 bits", "jpeg lossless", "jpeg-ls", "jpeg 2000", "htj2k", "jpeg 2000 tiles", "rle"],
)
@pytest.mark.parametrize("honest", [True, False], ids=["header says so too", "header says less"])
def test_a_decode_bomb_is_refused_before_any_decoder_runs(
    syntax: str, code: bytes, honest: bool, tmp_path: Path
) -> None:
    size = {"Rows": 60_000, "Columns": 60_000} if honest else {}
    path = compressed(tmp_path, WORDS, syntax, code, BitsStored=12, **size)
    began = time.process_time()
    assert refusal(path) is (Reason.TOO_LARGE if honest else Reason.DECODE_FAILED)
    assert time.process_time() - began < 1


def deflated(pixels: NDArray[Any]) -> bytes:
    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return machine.compress(pixels.tobytes()) + machine.flush()


@pytest.mark.parametrize("pixels", [BYTES, WORDS, COLOUR, BYTES[:129, :131]], ids=["8", "16", "rgb", "odd"])
def test_a_deflated_frame_gives_the_stored_values(pixels: NDArray[Any], tmp_path: Path) -> None:
    stored = read_stored(compressed(tmp_path, pixels, DEFLATED, deflated(pixels)))
    assert np.array_equal(stored.pixels, pixels)
    assert stored.decoder is Decoder.ZLIB


@pytest.mark.parametrize(
    "code",
    [
        deflated(np.zeros((16384, 16384), dtype=np.uint8)),
        deflated(WORDS)[:-3],
        deflated(WORDS[:-1]),
        deflated(np.vstack((WORDS, WORDS[:1]))),
    ],
    ids=["bomb", "cut short", "a row too few", "a row too many"],
)
def test_a_deflated_frame_has_exactly_the_size_the_header_says(code: bytes, tmp_path: Path) -> None:
    began = time.process_time()
    assert refusal(compressed(tmp_path, WORDS, DEFLATED, code, BitsStored=12)) is Reason.DECODE_FAILED
    assert time.process_time() - began < 1


def test_an_rle_bomb_expands_no_further_than_the_header_says(tmp_path: Path) -> None:
    code = struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\x55" * 1_000_000
    assert refusal(compressed(tmp_path, BYTES, RLE, code)) is Reason.DECODE_FAILED


@pytest.mark.parametrize("syntax", sorted(uid for uid, coding in CODINGS.items() if coding is not Coding.NATIVE))
@pytest.mark.parametrize(
    "code", [b"\0\0", b"\xff\xd8", b"\xff\x4f\xff\x51", b"\0" * 100, b"\xff\xd8" + b"\xff" * 400], ids=range(5)
)
def test_a_damaged_code_stream_is_refused(syntax: str, code: bytes, tmp_path: Path) -> None:
    assert refusal(compressed(tmp_path, WORDS, syntax, code, BitsStored=12)) is Reason.DECODE_FAILED


@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        (JPEG_LL, lambda a: imagecodecs.jpeg8_encode(a, lossless=True, bitspersample=12)),
        (JPEG_LS, imagecodecs.jpegls_encode),
        (JPEG_2000, lambda a: imagecodecs.jpeg2k_encode(a, codecformat="j2k", reversible=True, level=0)),
        (HTJ2K, imagecodecs.htj2k_encode),
    ],
    ids=["jpeg", "jpeg-ls", "jpeg 2000", "htj2k"],
)
@pytest.mark.parametrize("share", [0.05, 0.5, 0.98])
def test_a_code_stream_cut_short_is_refused_and_never_shown_half_grey(
    syntax: str, encode: Any, share: float, tmp_path: Path
) -> None:
    code = encode(WORDS)
    path = compressed(tmp_path, WORDS, syntax, code[: round(len(code) * share)], BitsStored=12)
    assert refusal(path) is Reason.DECODE_FAILED


def test_an_error_that_openjph_could_not_raise_is_no_picture_and_prints_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = bytearray(imagecodecs.htj2k_encode(np.random.default_rng(4).integers(0, 4096, (160, 256), dtype=np.uint16)))
    hooks = sys.excepthook, sys.unraisablehook
    at = code.index(b"\xff\x93") + 2
    code[at + 20_000 : at + 40_000] = bytes(20_000)
    assert refusal(compressed(tmp_path, WORDS, HTJ2K, bytes(code), BitsStored=12)) is Reason.DECODE_FAILED
    assert capfd.readouterr() == ("", "")
    assert (sys.excepthook, sys.unraisablehook) == hooks


def test_a_stream_of_fewer_bits_than_stored_keeps_its_values(tmp_path: Path) -> None:
    path = compressed(tmp_path, WORDS, JPEG, bytes(imagecodecs.jpeg8_encode(BYTES, lossless=True)), BitsStored=12)
    assert np.array_equal(read_stored(path).pixels, BYTES)


@pytest.mark.parametrize("fill", [b"\0", b"\xff", b" ", b"\0" * 31, b"\0" * 3000])
def test_fill_behind_a_code_stream_does_no_harm(fill: bytes, tmp_path: Path) -> None:
    path = compressed(tmp_path, WORDS, JPEG_LS, bytes(imagecodecs.jpegls_encode(WORDS)) + fill, BitsStored=12)
    assert np.array_equal(read_stored(path).pixels, WORDS)


def test_a_code_stream_says_its_own_size_and_depth() -> None:
    stream = declared_by(bytes(imagecodecs.jpeg2k_encode(WORDS, codecformat="j2k", bitspersample=12)), Coding.JPEG_2000)
    assert (stream.rows, stream.columns, stream.components, stream.precision) == (160, 256, 1, 12)
    stream = declared_by(bytes(imagecodecs.jpeg8_encode(COLOUR)), Coding.JPEG)
    assert (stream.rows, stream.columns, stream.components, stream.precision) == (160, 256, 3, 8)
    assert stream.names_colours


def test_a_jpeg_with_two_frame_headers_is_refused() -> None:
    twice = sof(0xC0, 160, 256)
    start = twice.index(b"\xff\xc0")
    with pytest.raises(FilmError):
        declared_by(twice[:2] + twice[start : start + 13] + twice[2:], Coding.JPEG)


@pytest.mark.data
def test_every_grey_frame_of_the_collection_has_the_values_pydicom_reads(test_data: Path) -> None:
    compared, failed = 0, []
    for path in sorted((test_data / "dicom").rglob("*")):
        if not path.is_file() or path.suffix in (".md", ".tsv"):
            continue
        try:
            stored = read_stored(path)
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


def _empty_fragments(count: int) -> bytes:
    """A basic offset table, empty fragments, and one that holds a picture."""
    code = bytes(imagecodecs.jpegls_encode(WORDS))
    empty = b"\xfe\xff\x00\xe0" + bytes(4)
    return empty * (1 + count) + b"\xfe\xff\x00\xe0" + len(code).to_bytes(4, "little") + code


@pytest.mark.parametrize("count", [MAX_SEGMENTS - 3, MAX_SEGMENTS])
def test_fragments_of_a_frame_are_counted(count: int, tmp_path: Path) -> None:
    ds = film(WORDS, syntax=JPEG_LS, BitsStored=12)
    ds.PixelData = _empty_fragments(count)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    path = save(ds, tmp_path)
    if count < MAX_SEGMENTS - 1:
        assert np.array_equal(read_stored(path).pixels, WORDS)
    else:
        assert refusal(path) is Reason.DECODE_FAILED


def _jpeg_with_fill(count: int) -> bytes:
    code = bytes(imagecodecs.jpeg8_encode(BYTES))
    return code[:2] + b"\xff" * count + code[2:]


def _j2k_with_comments(count: int) -> bytes:
    code = bytes(imagecodecs.jpeg2k_encode(BYTES, codecformat="j2k"))
    # behind the size segment, which must come first
    at = 4 + int.from_bytes(code[4:6], "big")
    return code[:at] + b"\xff\x64\x00\x04\x00\x01" * count + code[at:]


@pytest.mark.parametrize(("syntax", "made"), [(JPEG, _jpeg_with_fill), (JPEG_2000, _j2k_with_comments)])
def test_marker_segments_of_a_code_stream_are_counted(syntax: str, made: Any, tmp_path: Path) -> None:
    assert refusal(compressed(tmp_path, BYTES, syntax, made(MAX_SEGMENTS + 1))) is Reason.DECODE_FAILED
    assert read_stored(compressed(tmp_path, BYTES, syntax, made(1000))).pixels.shape == BYTES.shape
