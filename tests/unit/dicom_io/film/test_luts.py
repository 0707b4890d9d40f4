"""Look-up tables of the header: Modality, VOI and Presentation LUT, also as writers get them wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence

from dicom_io.film.greyscale import grey_table
from dicom_io.pixels.decode import read_stored_pixels
from tests.support.films import close, expected, film, greys, lut, lut_item, ramp, save

if TYPE_CHECKING:
    from pathlib import Path

SIGNED = (ramp(top=4095).astype(np.int32) - 2048).astype(np.int16)
BYTES = ramp(dtype=np.uint8, top=255)
WINDOW: dict[str, Any] = {"WindowCenter": "2048", "WindowWidth": "4096"}
SYNTAXES = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"]
INVERTING = bytes(255 - i for i in range(256))


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"])
def test_a_voi_lut_goes_before_the_window(syntax: str, tmp_path: Path) -> None:
    table = lut([1024, 500, 12], [int(4095 * (i / 1023) ** 2) for i in range(1024)])
    ours = greys(tmp_path, syntax=syntax, VOILUTSequence=table, **WINDOW)
    theirs = apply_voi_lut(ramp(), film(ramp(), BitsStored=12, VOILUTSequence=table))
    assert close(ours, theirs / 4095 * 255)


def test_a_voi_lut_of_signed_values_begins_below_zero(tmp_path: Path) -> None:
    table = lut([4096, -2048, 16], [16 * i for i in range(4096)])
    assert close(greys(tmp_path, SIGNED, VOILUTSequence=table), expected(SIGNED, -2048.0, 2047.9))


def test_a_lut_of_65536_entries_declares_zero(tmp_path: Path) -> None:
    table = lut([0, 0, 16], list(range(65536)))
    full = ramp(top=65535)
    assert close(greys(tmp_path, full, BitsStored=16, VOILUTSequence=table), expected(full, 0.0, 65535.0))


def test_a_lut_of_bytes_may_be_packed(tmp_path: Path) -> None:
    table = lut([256, 0, 8], [0])
    table[0].add_new(0x00283006, "OW", bytes(255 - i for i in range(256)))
    assert np.array_equal(greys(tmp_path, BYTES, VOILUTSequence=table), 255 - BYTES)


def test_a_lut_that_declares_more_bits_than_it_uses_is_not_shown_dark(tmp_path: Path) -> None:
    table = lut([4096, 0, 16], list(range(4096)))
    assert close(greys(tmp_path, VOILUTSequence=table), expected(ramp(), 0.0, 4095.0))


def test_a_broken_lut_is_as_none(tmp_path: Path) -> None:
    table = lut([256, 0, 8], [0])
    del table[0][0x00283006]
    assert np.array_equal(greys(tmp_path, VOILUTSequence=table, **WINDOW), greys(tmp_path, **WINDOW))


def test_a_modality_lut_goes_before_the_window(tmp_path: Path) -> None:
    table = lut([4096, 0, 16], [65535 - 16 * i for i in range(4096)])
    window: dict[str, Any] = {"WindowCenter": "32768", "WindowWidth": "65536"}
    ours = greys(tmp_path, ModalityLUTSequence=table, RescaleSlope="7", **window)
    ds = film(ramp(), BitsStored=12, ModalityLUTSequence=table, **window)
    theirs = apply_modality_lut(ramp(), ds).astype(float)
    assert close(ours, expected(theirs, 0.0, 65535.0))


def swapped(data: bytes) -> bytes:
    return np.frombuffer(data, "<u2").byteswap().tobytes()


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("bits", [8, 16])
def test_bytes_packed_in_words_are_unpacked_in_either_byte_order(syntax: str, bits: int, tmp_path: Path) -> None:
    data = swapped(INVERTING) if syntax == "1.2.840.10008.1.2.2" else INVERTING
    table = Sequence([lut_item([256, 0, bits], data, "OW")])
    assert np.array_equal(greys(tmp_path, BYTES, syntax=syntax, VOILUTSequence=table), 255 - BYTES)


@pytest.mark.parametrize("vr", ["US", "OW", "OB", "UN"])
def test_words_are_read_whatever_their_value_representation(vr: str, tmp_path: Path) -> None:
    entries = np.arange(65535, 0, -16, dtype="<u2")
    data = entries.tobytes() if vr != "US" else entries.tolist()
    table = Sequence([lut_item([4096, 0, 16], data, vr)])
    assert close(greys(tmp_path, VOILUTSequence=table, **WINDOW), 255 - expected(ramp(), 0, 4095))


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_words_are_read_in_either_byte_order(syntax: str, tmp_path: Path) -> None:
    table = lut([4096, 0, 12], list(range(4095, -1, -1)))
    assert close(greys(tmp_path, syntax=syntax, VOILUTSequence=table), 255 - expected(ramp(), 0, 4095))


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_white_is_what_the_descriptors_bits_allow(bits: int, tmp_path: Path) -> None:
    top = (1 << bits) * 3 // 4
    table = lut([4096, 0, bits], np.linspace(0, top, 4096).astype(int).tolist())
    assert abs(int(greys(tmp_path, VOILUTSequence=table).max()) - 191) <= 1


@pytest.mark.parametrize("bits", [0, 7, 17, 255])
def test_bits_that_no_table_has_are_told_from_its_entries(bits: int, tmp_path: Path) -> None:
    table = lut([4096, 0, bits], list(range(4096)))
    assert close(greys(tmp_path, VOILUTSequence=table), expected(ramp(), 0, 4095))


def test_a_table_shorter_than_declared_ends_with_its_last_entry(tmp_path: Path) -> None:
    table = lut([4096, 0, 12], list(range(0, 4096, 2))[:2000])
    assert close(greys(tmp_path, VOILUTSequence=table), expected(np.minimum(ramp(), 1999), 0, 2047))


def test_the_first_usable_voi_lut_is_taken(tmp_path: Path) -> None:
    broken = Dataset()
    broken.LUTExplanation = "NOTHING IN IT"
    usable = lut_item([4096, 0, 12], list(range(4095, -1, -1)))
    other = lut_item([4096, 0, 12], list(range(4096)))
    ours = greys(tmp_path, VOILUTSequence=Sequence([broken, usable, other]), **WINDOW)
    assert close(ours, 255 - expected(ramp(), 0, 4095))


@pytest.mark.parametrize("data", [[], [4095]])
def test_a_table_of_less_than_two_entries_is_as_none(data: list[int], tmp_path: Path) -> None:
    table = lut([len(data), 0, 12], data)
    assert np.array_equal(greys(tmp_path, VOILUTSequence=table, **WINDOW), greys(tmp_path, **WINDOW))


def test_a_modality_lut_of_one_entry_is_as_none(tmp_path: Path) -> None:
    table = lut([1, 0, 12], [4095])
    assert np.array_equal(greys(tmp_path, ModalityLUTSequence=table, **WINDOW), greys(tmp_path, **WINDOW))


def test_an_odd_number_of_bytes_is_padded(tmp_path: Path) -> None:
    table = Sequence([lut_item([255, 0, 8], INVERTING[:255] + b"\0", "OW")])
    assert np.array_equal(greys(tmp_path, BYTES, VOILUTSequence=table), np.maximum(255 - BYTES, 1))


def test_a_voi_lut_takes_what_the_rescale_gives(tmp_path: Path) -> None:
    table = lut([4096, -1024, 12], list(range(4096)))
    ours = greys(tmp_path, RescaleSlope="1", RescaleIntercept="-1024", VOILUTSequence=table)
    assert close(ours, expected(ramp(), 0, 4095))


def test_a_voi_lut_takes_what_the_modality_lut_gives(tmp_path: Path) -> None:
    modality = lut([4096, 0, 16], [40_000 + i for i in range(4096)])
    table = lut([4096, 40_000, 12], list(range(4095, -1, -1)))
    ours = greys(tmp_path, ModalityLUTSequence=modality, VOILUTSequence=table)
    assert close(ours, 255 - expected(ramp(), 0, 4095))


def test_the_first_mapped_value_of_unsigned_pixels_may_be_large(tmp_path: Path) -> None:
    full = ramp(top=65535)
    table = lut([16384, 40_000, 14], list(range(16384)))
    assert close(greys(tmp_path, full, BitsStored=16, VOILUTSequence=table), expected(full, 40_000, 56_383))


def test_a_negative_first_mapped_value_of_unsigned_pixels_stays_negative(tmp_path: Path) -> None:
    table = lut([8192, -4096, 13], list(range(8192)))
    assert close(greys(tmp_path, VOILUTSequence=table), expected(ramp(), -4096, 4095))


@pytest.mark.parametrize("unit", ["HU", "US", "OD"])
def test_the_unit_of_a_modality_lut_changes_nothing(unit: str, tmp_path: Path) -> None:
    table = lut([4096, 0, 16], [16 * i for i in range(4096)])
    table[0].ModalityLUTType = unit
    ours = greys(tmp_path, ModalityLUTSequence=table, WindowCenter="32768", WindowWidth="65536")
    assert close(ours, expected(ramp(), 0, 4096))


@pytest.mark.parametrize(("photometric", "is_inverted"), [("MONOCHROME2", False), ("MONOCHROME1", True)])
def test_a_presentation_lut_takes_the_greys_in_their_polarity(
    photometric: str, is_inverted: bool, tmp_path: Path
) -> None:
    curve = [round(4095 * (i / 1023) ** 2) for i in range(1024)]
    ours = greys(
        tmp_path, PhotometricInterpretation=photometric, PresentationLUTSequence=lut([1024, 0, 12], curve), **WINDOW
    )
    shares = ramp() / 4095
    theirs = ((1 - shares if is_inverted else shares) ** 2) * 255
    assert np.abs(ours - theirs).max() <= 1.5


@settings(max_examples=60, deadline=None)
@given(
    entries=st.lists(st.integers(0, 65535), min_size=2, max_size=300),
    first=st.integers(-3000, 40_000),
    bits=st.integers(0, 20),
    is_signed=st.booleans(),
)
def test_a_rising_table_never_turns_the_order_of_greys(
    entries: list[int], first: int, bits: int, is_signed: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    table = lut([len(entries), first, bits], sorted(entries))
    if first >= 0x8000:
        table[0][0x00283002].VR = "US"
    ds = film(SIGNED if is_signed else ramp(), BitsStored=12, VOILUTSequence=table)
    shown = grey_table(read_stored_pixels(save(ds, tmp_path_factory.mktemp("lut"))), 1).astype(int)
    in_order = np.roll(shown, 2048) if is_signed else shown
    assert (np.diff(in_order) >= 0).all()
