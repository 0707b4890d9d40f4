"""Rejection notes are read as a PACS writes them; what is damaged, endless or nested is bounded and never followed."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_io.errors import HeaderUnreadable, NotDicom
from dicom_io.header.key_objects import MAX_REFERENCES, read_rejection
from dicom_io.header.rejection import NoteDefect, Reference, RejectionTitle
from tests.support.rejections import FILM_CLASS, note_dataset

FILMS = [("1.2", "1.2.8", "1.2.8.1"), ("1.2", "1.2.9", "1.2.9.1"), ("1.2", "1.2.9", "1.2.9.2")]
NAMED = tuple(Reference(uid, study, series, FILM_CLASS) for study, series, uid in sorted(FILMS))


def encoded(ds, syntax: str = ExplicitVRLittleEndian) -> bytes:
    ds.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def read(tmp_path, data: bytes) -> Any:
    path = tmp_path / "note.dcm"
    path.write_bytes(data)
    return read_rejection(path)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize("content", [True, False])
def test_a_note_is_read_in_every_coding_with_and_without_content(tmp_path, syntax, content):
    found = read(tmp_path, encoded(note_dataset(FILMS, content=content), syntax))
    assert (found.title, found.defect) == (RejectionTitle.PATIENT_SAFETY, None)
    assert sorted(found.references) == sorted(NAMED)


@pytest.mark.parametrize("title", list(RejectionTitle))
def test_each_title_is_told_by_code_and_scheme(tmp_path, title):
    assert read(tmp_path, encoded(note_dataset(FILMS, title=(title.value, title.scheme, "")))).title is title
    assert read(tmp_path, encoded(note_dataset(FILMS, title=(title.value, "99LOCAL", "")))) is None


@pytest.mark.parametrize("code", ["113000", "113010", "113020", "11303", "113037 1", ""])
def test_key_images_reject_nothing(tmp_path, code):
    assert read(tmp_path, encoded(note_dataset(FILMS, title=(code, "DCM", "Of Interest")))) is None


def test_two_titles_reject_nothing(tmp_path):
    ds = note_dataset(FILMS)
    ds.ConceptNameCodeSequence = Sequence([*ds.ConceptNameCodeSequence, *ds.ConceptNameCodeSequence])
    assert read(tmp_path, encoded(ds)) is None


def defect(tmp_path, ds) -> Any:
    return read(tmp_path, encoded(ds)).defect


def test_a_note_that_cannot_be_followed_says_why(tmp_path):
    nothing = note_dataset([])
    del nothing.CurrentRequestedProcedureEvidenceSequence
    assert defect(tmp_path, nothing) is NoteDefect.NO_REFERENCES
    differs = note_dataset(FILMS)
    differs.ContentSequence = Sequence(list(differs.ContentSequence)[:1])
    assert defect(tmp_path, differs) is NoteDefect.REFERENCES_DIFFER
    bad_uid = note_dataset([("1.2", "1.2.3", "1.2.3.1")])
    series = bad_uid.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    del series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert defect(tmp_path, bad_uid) is NoteDefect.NO_REFERENCES


def test_no_more_references_are_followed_than_allowed(tmp_path):
    uids = [("1", "2", f"3.{number}") for number in range(MAX_REFERENCES + 1)]
    many = note_dataset(uids, content=False)
    found = read(tmp_path, encoded(many))
    assert (found.defect, found.references) == (NoteDefect.UNREADABLE, ())
    objects = many.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    objects.pop()
    assert len(read(tmp_path, encoded(many)).references) == MAX_REFERENCES


@settings(max_examples=150, deadline=None, derandomize=True)
@given(at=st.floats(0, 1), junk=st.binary(max_size=40), cut=st.booleans())
def test_damage_gives_a_note_a_defect_or_one_of_the_readers_errors(tmp_path_factory, at, junk, cut):
    data = encoded(note_dataset(FILMS))
    place = 132 + int(at * (len(data) - 132))
    path = tmp_path_factory.getbasetemp() / "damaged.dcm"
    path.write_bytes(data[:place] + junk + (b"" if cut else data[place + len(junk) :]))
    try:
        found = read_rejection(path)
    except (NotDicom, HeaderUnreadable):
        return
    assert found is None or bool(found.references) != bool(found.defect)
