"""The heat map as Secondary Capture: colour, burned in, derived from the film that decides."""

from __future__ import annotations

import numpy as np
import pytest

from dicom_io.gate.judge import AgeRange, GateInput, Policies, judge
from dicom_io.gate.rules import RULES, Policy
from dicom_io.header.evidence import Derivation
from dicom_io.header.reader import facts_of
from dicom_io.reasons import Reason
from dicom_io.results.capture import make_capture
from dicom_io.results.objects import NOT_FOR_DIAGNOSIS, file_bytes
from dicom_io.results.report import make_report
from tests.support.results import FILM, MODEL, a_result, a_source

PICTURE = np.arange(3 * 5 * 7, dtype=np.uint8).reshape(5, 7, 3)


def test_the_pixels_are_those_of_the_picture_in_colour() -> None:
    ds = make_capture(PICTURE, a_result(), a_source(), "how")
    assert (ds.SOPClassUID, ds.PhotometricInterpretation) == ("1.2.840.10008.5.1.4.1.1.7", "RGB")
    assert (ds.Rows, ds.Columns, len(ds.PixelData)) == (5, 7, 106)
    assert (ds.pixel_array == PICTURE).all()


def test_it_says_that_text_is_burned_in_and_what_it_was_derived_from() -> None:
    ds = make_capture(PICTURE, a_result(), a_source(LossyImageCompression="01"), "how")
    assert (ds.BurnedInAnnotation, ds.ConversionType, ds.Modality) == ("YES", "WSD", "OT")
    assert list(ds.ImageType[:2]) == ["DERIVED", "SECONDARY"]
    (source,) = ds.SourceImageSequence
    assert (source.ReferencedSOPInstanceUID, source.ReferencedSOPClassUID) == (FILM.sop_uid, FILM.sop_class_uid)
    assert (ds.DerivationDescription, ds.LossyImageCompression) == ("how", "01")
    assert NOT_FOR_DIAGNOSIS in ds.SeriesDescription
    assert ds.ContributingEquipmentSequence[0].DeviceUID == MODEL.device_uid


def test_it_has_a_series_of_its_own_in_the_study_of_the_film() -> None:
    ds, report = make_capture(PICTURE, a_result(), a_source(), "how"), make_report(a_result(), a_source())
    assert ds.StudyInstanceUID == report.StudyInstanceUID
    assert ds.SeriesInstanceUID != report.SeriesInstanceUID
    assert ds.SOPInstanceUID != report.SOPInstanceUID
    assert bytes(file_bytes(ds)) == bytes(file_bytes(make_capture(PICTURE, a_result(), a_source(), "how")))


def test_its_uid_follows_from_the_header_and_not_from_pixels_that_may_differ_by_rounding() -> None:
    first, rounded = (
        make_capture(PICTURE + step, a_result(), a_source(), "how") for step in (np.uint8(0), np.uint8(1))
    )
    assert first.SOPInstanceUID == rounded.SOPInstanceUID
    other = make_capture(PICTURE, a_result(threshold=0.6), a_source(PatientName="Meyer^J"), "how")
    assert other.SOPInstanceUID != first.SOPInstanceUID


@pytest.mark.parametrize("policy", list(Policy))
def test_no_policy_of_a_site_lets_it_or_the_report_be_judged(policy: Policy) -> None:
    changed = Policies(tuple((rule.reason, policy) for rule in RULES if rule.is_changeable))
    for ds in (make_capture(PICTURE, a_result(), a_source(), "how"), make_report(a_result(), a_source())):
        facts = facts_of(ds)
        assert facts.is_own_result
        assert judge(GateInput(facts, AgeRange(0, 120)), policies=changed).reason is Reason.NOT_A_RADIOGRAPH


def test_a_stranger_that_strips_our_device_uid_still_sees_a_computed_picture() -> None:
    ds = make_capture(PICTURE, a_result(), a_source(), "how")
    del ds.ContributingEquipmentSequence
    facts = facts_of(ds)
    assert not facts.is_own_result
    assert facts.derivation is Derivation.ANALYSIS
