"""The rejection note withdraws objects of Auscult and nothing else, and is no note of the hospital when it comes back."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import numpy as np
import pytest

from dicom_io.header.key_objects import is_own_note, read_rejection
from dicom_io.header.reader import facts_of
from dicom_io.header.rejection import Reference, RejectionTitle
from dicom_io.results.capture import make_capture
from dicom_io.results.objects import NOT_FOR_DIAGNOSIS, file_bytes
from dicom_io.results.rejection_note import rejection_note
from dicom_io.results.report import make_report
from dicom_io.results.source_header import source_header_of
from tests.support.results import FILM, MODEL, STUDY_UID, a_result, a_source, saved, withdrawn

REJECTING = [title for title in RejectionTitle if title is not RejectionTitle.REVOKED]


@pytest.mark.parametrize("title", REJECTING)
def test_our_own_reader_finds_title_and_objects_in_it(tmp_path, title):
    gone = withdrawn()
    ds = rejection_note(gone, a_source(), title)
    found = read_rejection(saved(ds, tmp_path / "note.dcm"))
    assert found is not None
    assert (found.title, found.defect) == (title, None)
    assert sorted(found.references) == sorted(gone.objects)
    assert (ds.Modality, ds.ContentTemplateSequence[0].TemplateIdentifier) == ("KO", "2010")
    assert ds.StudyInstanceUID == STUDY_UID


def test_a_heat_map_is_named_as_an_image_and_a_report_as_an_object():
    ds = rejection_note(withdrawn(), a_source(), RejectionTitle.QUALITY)
    kinds = {
        item.ReferencedSOPSequence[0].ReferencedSOPClassUID: item.ValueType
        for item in ds.ContentSequence
        if "ReferencedSOPSequence" in item
    }
    assert kinds == {"1.2.840.10008.5.1.4.1.1.7": "IMAGE", "1.2.840.10008.5.1.4.1.1.88.34": "COMPOSITE"}


def test_the_same_objects_in_any_order_give_the_same_bytes_and_any_change_another_object():
    gone = withdrawn()
    turned = dataclasses.replace(gone, objects=(*reversed(gone.objects), gone.objects[0]))
    first, again = (rejection_note(each, a_source(), RejectionTitle.QUALITY) for each in (gone, turned))
    assert bytes(file_bytes(first)) == bytes(file_bytes(again))
    others = [
        rejection_note(gone, a_source(), RejectionTitle.PATIENT_SAFETY),
        rejection_note(gone, a_source(PatientName="Meyer^J"), RejectionTitle.QUALITY),
        rejection_note(dataclasses.replace(gone, objects=gone.objects[:1]), a_source(), RejectionTitle.QUALITY),
        rejection_note(
            dataclasses.replace(gone, withdrawn_at=datetime(2027, 1, 1, tzinfo=UTC)), a_source(), RejectionTitle.QUALITY
        ),
    ]
    assert len({ds.SOPInstanceUID for ds in (first, *others)}) == 5
    assert {ds.SeriesInstanceUID for ds in others} == {first.SeriesInstanceUID}


def test_patient_and_study_may_come_from_a_withdrawn_report():
    report = make_report(a_result(), a_source())
    of_film, of_report = (
        rejection_note(withdrawn(), source, RejectionTitle.QUALITY) for source in (a_source(), source_header_of(report))
    )
    assert bytes(file_bytes(of_film)) == bytes(file_bytes(of_report))
    assert (str(of_report.PatientName), of_report.SpecificCharacterSet) == ("M\u00fcller^J\u00fcrgen", "ISO_IR 100")


def test_it_says_who_rejects_and_that_it_is_not_for_diagnosis():
    ds = rejection_note(withdrawn(), a_source(), RejectionTitle.QUALITY)
    assert ds.ContributingEquipmentSequence[-1].DeviceUID == MODEL.device_uid
    assert [item.UID for item in ds.ContentSequence if item.ValueType == "UIDREF"] == [MODEL.device_uid]
    (text,) = [item.TextValue for item in ds.ContentSequence if item.ValueType == "TEXT"]
    assert NOT_FOR_DIAGNOSIS in text
    assert NOT_FOR_DIAGNOSIS in ds.SeriesDescription
    assert (ds.ContentDate, ds.ContentTime) == ("20261130", "090000")


@pytest.mark.parametrize(
    "other",
    [
        Reference(FILM.sop_uid, STUDY_UID, FILM.series_uid, FILM.sop_class_uid),
        Reference("1.2.3", STUDY_UID, "1.2", "1.2.840.10008.5.1.4.1.1.7"),
        Reference("2.25.5", STUDY_UID, "1.2", "1.2.840.10008.5.1.4.1.1.7"),
        Reference("2.25.5", "1.2.3", "2.25.6", "1.2.840.10008.5.1.4.1.1.7"),
    ],
    ids=["a film", "a capture of others", "in a series of others", "of another study"],
)
def test_it_names_no_object_of_others_and_one_study(other):
    with pytest.raises(ValueError, match="of Auscult"):
        withdrawn(other)


def test_it_needs_an_object_and_a_reason_that_rejects():
    with pytest.raises(ValueError, match="of Auscult"):
        dataclasses.replace(withdrawn(), objects=())
    with pytest.raises(ValueError, match="REVOKED"):
        rejection_note(withdrawn(), a_source(), RejectionTitle.REVOKED)


def test_it_is_known_again_as_our_own_and_one_that_an_archive_makes_of_it_is_not():
    ds = rejection_note(withdrawn(), a_source(), RejectionTitle.QUALITY)
    assert is_own_note(facts_of(ds))
    ds.Manufacturer = "An archive"
    facts = facts_of(ds)
    assert facts.is_own_result
    assert not is_own_note(facts)


def test_the_objects_are_those_that_the_builders_make():
    report = make_report(a_result(), a_source())
    heat_map = make_capture(np.zeros((4, 4, 3), np.uint8), a_result(), a_source(), "how")
    assert [each.sop_uid for each in withdrawn().objects] == [report.SOPInstanceUID, heat_map.SOPInstanceUID]
