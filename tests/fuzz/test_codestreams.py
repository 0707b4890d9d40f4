"""Hostile and damaged code streams: only a coded reason comes out, in little memory and time, and nothing is printed."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_io.errors import FilmError
from dicom_io.pixels.codestream import coding_of, declared_by
from dicom_io.pixels.syntaxes import Coding
from dicom_io.reasons import Reason
from tests.fuzz.bounded import MIB, bounded
from tests.fuzz.codestreams import ends_of_cuts, ends_of_files, ends_of_mutations, ends_of_wide_steps, seeds
from tests.fuzz.guided import guided
from tests.fuzz.hostile_codestreams import ends_of_fragments, ends_of_honest_claims, ends_of_lies

pytestmark = pytest.mark.slow

TEMPORARY = Path(tempfile.gettempdir())
FAILED = str(Reason.DECODE_FAILED)


def test_mutated_streams_end_with_a_reason_or_with_a_picture_of_the_declared_size() -> None:
    before = set(TEMPORARY.glob("auscult-*"))
    ended = bounded(ends_of_mutations, 11, 60, memory=256 * MIB, seconds=20)
    assert set(ended.value) == {"", FAILED}
    assert min(ended.value.values()) > 100
    assert ended.printed == ""
    assert ended.peak_bytes < 96 * MIB
    assert set(TEMPORARY.glob("auscult-fuzz-*")) <= before


def test_a_stream_cut_short_is_never_a_picture() -> None:
    ended = bounded(ends_of_cuts)
    assert {name.split()[-1] for name in ended.value} == {FAILED}
    assert len(ended.value) == 8
    assert ended.printed == ""


def test_a_stream_that_claims_another_size_or_too_many_parts_is_refused_at_once() -> None:
    ended = bounded(ends_of_lies, memory=128 * MIB, seconds=5)
    assert {name: end for name, end in ended.value.items() if end != FAILED} == {}
    assert ended.peak_bytes < 96 * MIB
    assert ended.printed == ""


def test_a_large_picture_with_nothing_coded_costs_no_more_than_a_large_picture() -> None:
    ended = bounded(ends_of_honest_claims, memory=1024 * MIB, seconds=15)
    # an HTJ2K stream whose every packet is empty is whole: a picture of one grey, which CONSTANT_PICTURE refuses
    assert {name: end for name, end in ended.value.items() if end != FAILED} == {"htj2k": ""}
    assert ended.printed == ""


def test_fragments_of_any_kind_end_in_time() -> None:
    ended = bounded(ends_of_fragments, memory=128 * MIB, seconds=5)
    good = {"good", "a fragment for each two bytes", "a table of a million offsets"}
    assert {name for name, end in ended.value.items() if not end} == {*good, "no delimiter"}
    assert set(ended.value.values()) <= {"", FAILED, str(Reason.UNREADABLE), str(Reason.NO_PIXEL_DATA)}


def test_steps_that_once_ended_the_process_are_refused() -> None:
    assert bounded(ends_of_wide_steps).value == [FAILED] * 4


def test_coverage_guided_streams_break_nothing(tmp_path: Path) -> None:
    corpus = [bytes((number,)) + stream.code[:6000] for number, stream in enumerate(seeds())]
    guided("fuzz_codestreams", corpus, tmp_path, runs=1000, longest=8192)


@pytest.mark.data
def test_real_files_with_one_damage_each_end_with_a_reason_or_a_picture(test_data: Path) -> None:
    ended = bounded(ends_of_files, test_data / "dicom", 3, 300_000, memory=512 * MIB, seconds=20)
    assert set(ended.value) <= {"", *map(str, Reason)}
    assert sum(ended.value.values()) > 150
    assert ended.printed == ""


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    start=st.sampled_from([b"", b"\xff\xd8", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  "]),
    middle=st.binary(max_size=200),
    end=st.sampled_from([b"", b"\xff\xd9"]),
    coding=st.sampled_from([Coding.JPEG, Coding.JPEG_LS, Coding.JPEG_2000, Coding.HTJ2K]),
)
def test_any_bytes_declare_a_size_or_nothing(start: bytes, middle: bytes, end: bytes, coding: Coding) -> None:
    data = start + middle + end
    assert coding_of(data) in {None, Coding.JPEG, Coding.JPEG_LS, Coding.JPEG_2000, Coding.HTJ2K}
    with suppress(FilmError):
        assert declared_by(data, coding).precision <= 0xFF
