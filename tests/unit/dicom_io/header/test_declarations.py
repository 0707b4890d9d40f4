"""Missing and wrong declarations: the file is read where it is unambiguous, else there is a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pytest

from dicom_io.errors import FilmError
from dicom_io.film.film import film_of_dicom
from dicom_io.header.part10 import read_preface
from dicom_io.header.reader import read_facts
from dicom_io.pixels.decode import read_stored_pixels
from dicom_io.pixels.syntaxes import CODINGS, Coding, Decoder
from dicom_io.reasons import Reason
from tests.support.films import declare, film, ramp, save

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset

IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED = (f"1.2.840.10008.1.2{last}" for last in ("", ".1", ".2", ".1.99"))
JPEG, JPEG_SV1, JPEG_LS, J2K, HTJ2K = (f"1.2.840.10008.1.2.4.{last}" for last in (50, 70, 80, 90, 201))
RLE, DEFLATED_FRAME = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.8.1"
PIXELS = ramp()
NATIVE = [IMPLICIT, EXPLICIT, BIG_ENDIAN]
ENCAPSULATED = sorted(uid for uid, coding in CODINGS.items() if coding is not Coding.NATIVE)
CODES = {
    JPEG_SV1: (bytes(imagecodecs.jpeg8_encode(PIXELS, lossless=True, bitspersample=12)), Decoder.LIBJPEG_TURBO),
    JPEG_LS: (bytes(imagecodecs.jpegls_encode(PIXELS)), Decoder.CHARLS),
    J2K: (
        bytes(imagecodecs.jpeg2k_encode(PIXELS, codecformat="j2k", reversible=True, level=0)),
        Decoder.OPENJPEG,
    ),
    HTJ2K: (bytes(imagecodecs.htj2k_encode(PIXELS)), Decoder.OPENJPH),
}
ITEM = b"\xfe\xff\x00\xe0"


def with_code(code: bytes, syntax: str, *, has_table: bool = True, has_length: bool = False) -> Dataset:
    code += bytes(len(code) % 2)
    table = ITEM + bytes(4) if has_table else b""
    ds = film(PIXELS, syntax=syntax, BitsStored=12, PixelData=table + ITEM + len(code).to_bytes(4, "little") + code)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = not has_length
    return ds


def reason_of(path: Path) -> Reason:
    with pytest.raises(FilmError) as caught:
        film_of_dicom(path)
    return caught.value.reason


@pytest.mark.parametrize("really", NATIVE)
@pytest.mark.parametrize("said", [*NATIVE, DEFLATED, *ENCAPSULATED])
def test_uncompressed_pixels_are_read_whatever_the_file_says(really: str, said: str, tmp_path: Path) -> None:
    path = save(film(PIXELS, syntax=really), tmp_path)
    declare(path, said)
    assert np.array_equal(read_stored_pixels(path).pixels, PIXELS)
    assert read_facts(path).modality == "DX"


@pytest.mark.parametrize("really", sorted(CODES))
@pytest.mark.parametrize("said", [*NATIVE, *ENCAPSULATED])
def test_a_code_stream_is_read_as_what_it_is(really: str, said: str, tmp_path: Path) -> None:
    code, decoder = CODES[really]
    path = save(with_code(code, really), tmp_path)
    declare(path, said)
    stored = read_stored_pixels(path)
    assert np.array_equal(stored.pixels, PIXELS)
    assert stored.decoder is decoder


@pytest.mark.parametrize("really", [RLE, DEFLATED_FRAME])
@pytest.mark.parametrize("said", [*NATIVE, JPEG, JPEG_LS, J2K, HTJ2K])
def test_a_coding_that_names_itself_in_no_way_is_refused_where_another_is_said(
    really: str, said: str, tmp_path: Path
) -> None:
    path = save(with_code(b"\x02\0\0\0\x40" + bytes(200), really), tmp_path)
    declare(path, said)
    assert reason_of(path) is Reason.DECODE_FAILED


@pytest.mark.parametrize("said", [IMPLICIT, BIG_ENDIAN, JPEG_LS, "1.2.3"])
def test_a_deflated_data_set_under_another_name_has_a_reason(said: str, tmp_path: Path) -> None:
    path = save(film(PIXELS, syntax=DEFLATED), tmp_path)
    declare(path, said)
    assert reason_of(path) in {Reason.UNREADABLE, Reason.NO_PIXEL_DATA, Reason.UNSUPPORTED_TRANSFER_SYNTAX}


@pytest.mark.parametrize("syntax", [*NATIVE, *sorted(CODES)])
@pytest.mark.parametrize("kept", ["data set", "meta and data set", "preamble and data set"])
def test_a_file_without_some_of_its_meta_information_is_read(syntax: str, kept: str, tmp_path: Path) -> None:
    path = save(with_code(CODES[syntax][0], syntax) if syntax in CODES else film(PIXELS, syntax=syntax), tmp_path)
    with path.open("rb") as fp:
        offset = read_preface(fp).offset
    whole = path.read_bytes()
    before = {"data set": b"", "meta and data set": whole[132:offset], "preamble and data set": whole[:132]}[kept]
    path.write_bytes(before + whole[offset:])
    assert np.array_equal(read_stored_pixels(path).pixels, PIXELS)
    assert read_facts(path).modality == "DX"


def test_a_meta_group_without_a_transfer_syntax_is_made_up_for(tmp_path: Path) -> None:
    path = save(film(PIXELS), tmp_path)
    path.write_bytes(path.read_bytes().replace(b"\x02\x00\x10\x00UI", b"\x02\x00\x11\x00UI", 1))
    with path.open("rb") as fp:
        assert read_preface(fp).transfer_syntax_uid == ""
    assert np.array_equal(read_stored_pixels(path).pixels, PIXELS)


@pytest.mark.parametrize("syntax", sorted(CODES))
def test_fragments_without_an_offset_table_are_read(syntax: str, tmp_path: Path) -> None:
    path = save(with_code(CODES[syntax][0], syntax, has_table=False), tmp_path)
    assert np.array_equal(read_stored_pixels(path).pixels, PIXELS)


@pytest.mark.parametrize("syntax", [EXPLICIT, *sorted(CODES)])
def test_fragments_with_a_length_before_them_are_read(syntax: str, tmp_path: Path) -> None:
    path = save(with_code(CODES[JPEG_LS][0], EXPLICIT, has_length=True), tmp_path)
    declare(path, syntax)
    assert np.array_equal(read_stored_pixels(path).pixels, PIXELS)


@pytest.mark.parametrize("missing", [2, 256, -256])
def test_pixels_whose_length_does_not_fit_the_size_are_not_uncompressed(missing: int, tmp_path: Path) -> None:
    data = PIXELS.astype("<u2").tobytes()
    data = data[:-missing] if missing > 0 else data + bytes(-missing)
    path = save(film(PIXELS, PixelData=data), tmp_path)
    declare(path, JPEG)
    assert reason_of(path) is Reason.DECODE_FAILED


def test_pixels_that_are_missing_at_the_end_are_not_made_up(tmp_path: Path) -> None:
    elements: dict[str, Any] = {"PixelData": PIXELS.astype("<u2").tobytes()[:-2]}
    assert reason_of(save(film(PIXELS, **elements), tmp_path)) is Reason.DECODE_FAILED


def test_a_code_stream_of_more_bits_than_allocated_is_refused(tmp_path: Path) -> None:
    ds = with_code(CODES[JPEG_LS][0], JPEG_LS)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    assert reason_of(save(ds, tmp_path)) is Reason.DECODE_FAILED
