"""The structured report says what IHE AIR asks for, and nothing that Auscult does not know."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dicom_io.header.reader import facts_of
from dicom_io.results.capture import make_capture
from dicom_io.results.objects import NOT_FOR_DIAGNOSIS, file_bytes
from dicom_io.results.report import make_report
from dicom_io.results.result import FindingStatus, Predecessor, ResultModel
from model.notice import NOTICE
from tests.support.results import FILM, MODEL, OTHER_FILM, STUDY_UID, a_result, a_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom.dataset import Dataset

    from dicom_io.results.result import StudyResult


def items_of(ds: Dataset) -> Iterator[tuple[str, object]]:
    """Concept and value of each item of the content tree."""
    for item in ds.get("ContentSequence", []):
        concept = item.ConceptNameCodeSequence[0].CodeValue
        kind = item.ValueType
        if kind == "CODE":
            yield concept, item.ConceptCodeSequence[0].CodeValue
        elif kind == "TEXT":
            yield concept, item.TextValue
        elif kind == "UIDREF":
            yield concept, item.UID
        elif kind == "NUM":
            yield concept, float(item.MeasuredValueSequence[0].NumericValue)
        elif kind == "IMAGE":
            yield concept, item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        yield from items_of(item)


def said(result: StudyResult) -> list[tuple[str, object]]:
    return list(items_of(make_report(result, a_source())))


def values(result: StudyResult, concept: str) -> list[object]:
    return [value for name, value in said(result) if name == concept]


def evidence(ds: Dataset, keyword: str) -> list[str]:
    return [
        item.ReferencedSOPInstanceUID
        for study in ds.get(keyword, [])
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    ]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (FindingStatus.PRESENT, "52101004"),
        (FindingStatus.ABSENT, "272519000"),
        (FindingStatus.INDETERMINATE, "82334004"),
    ],
)
def test_the_finding_is_pneumonia_with_a_status_and_never_normal(status: FindingStatus, code: str) -> None:
    items = said(a_result(status=status))
    assert ("121071", "233604007") in items
    assert ("233604007", code) in items
    assert "17621005" not in [value for _, value in items]
    assert not any("normal" in str(value).lower() for _, value in items)


def test_it_is_a_comprehensive_3d_sr_of_tid_1500_with_one_group_of_tid_1501() -> None:
    ds = make_report(a_result(), a_source())
    assert (ds.SOPClassUID, ds.Modality) == ("1.2.840.10008.5.1.4.1.1.88.34", "SR")
    assert ds.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert ds.ConceptNameCodeSequence[0].CodeValue == "126000"
    (measurements,) = [item for item in ds.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "126010"]
    (group,) = measurements.ContentSequence
    assert group.ContentTemplateSequence[0].TemplateIdentifier == "1501"


def test_the_procedure_reported_is_the_chest_film_and_not_the_algorithm() -> None:
    assert values(a_result(), "121058") == ["399208008"]


def test_equipment_observer_and_algorithm_name_one_model() -> None:
    ds = make_report(a_result(), a_source())
    (item,) = [item for item in ds.ContributingEquipmentSequence if "DeviceUID" in item]
    assert item.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    items = dict(items_of(ds))
    assert items["111001"] == items["121015"] == item.ManufacturerModelName == "auscult"
    assert items["111003"] == item.SoftwareVersions == MODEL.software_versions
    assert items["121014"] == items["122405"] == item.Manufacturer == "Auscult"
    assert items["121012"] == item.DeviceUID == MODEL.device_uid
    assert [each.ManufacturerModelName for each in ds.ContributingEquipmentSequence] == ["Detector", "auscult"]


def test_another_version_weights_or_operating_point_is_another_device() -> None:
    models = [
        MODEL,
        ResultModel("auscult", "3", MODEL.weights_sha256, MODEL.digest),
        ResultModel("auscult", "2", "0" * 64, MODEL.digest),
        ResultModel("auscult", "2", MODEL.weights_sha256, "0" * 64),
        ResultModel("notebook", "2", MODEL.weights_sha256, MODEL.digest),
    ]
    assert len({model.device_uid for model in models}) == 5
    assert all(len(model.software_versions) <= 64 for model in models)


def test_tracking_is_stable_over_models_runs_and_statuses() -> None:
    later = a_result(
        status=FindingStatus.ABSENT,
        films=(OTHER_FILM,),
        model=ResultModel("auscult", "3", "0" * 64, "0" * 64),
        analysed_at=datetime(2027, 1, 1, tzinfo=UTC),
    )
    assert values(a_result(), "112040") == values(later, "112040")
    assert values(a_result(), "112039") == values(later, "112039")
    assert values(a_result(side=1), "112040") != values(a_result(), "112040")


def test_the_score_is_a_parameter_and_a_certainty_only_where_it_was_calibrated_at_the_site() -> None:
    lines = " | ".join(map(str, values(a_result(), "111002")))
    assert "0.932" in lines
    assert "0.5000" in lines
    assert "no certainty" in lines
    assert values(a_result(), "111012") == []
    at_site = ResultModel("auscult", "2.1", "ab" * 32, "cd" * 32, is_site_calibrated=True)
    assert values(a_result(model=at_site), "111012") == [93.2]
    assert "no certainty" not in " | ".join(map(str, values(a_result(model=at_site), "111002")))


def test_a_score_is_never_written_as_certain() -> None:
    film = type(FILM)(FILM.sop_class_uid, FILM.sop_uid, FILM.series_uid, 1.0)
    at_site = ResultModel("auscult", "2.1", "ab" * 32, "cd" * 32, is_site_calibrated=True)
    made = a_result(films=(film,), model=at_site)
    assert values(made, "111012") == [99.9]
    assert any("above 0.999" in str(line) for line in values(made, "111002"))


def test_films_of_the_answer_are_its_sources_and_every_judged_film_is_evidence() -> None:
    ds = make_report(a_result(other_films=(OTHER_FILM,)), a_source())
    assert values(a_result(other_films=(OTHER_FILM,)), "121112") == [FILM.sop_uid]
    assert evidence(ds, "CurrentRequestedProcedureEvidenceSequence") == [FILM.sop_uid, OTHER_FILM.sop_uid]
    both = make_report(a_result(status=FindingStatus.ABSENT, films=(FILM, OTHER_FILM)), a_source())
    assert evidence(both, "CurrentRequestedProcedureEvidenceSequence") == [FILM.sop_uid, OTHER_FILM.sop_uid]


def test_it_refers_to_the_heat_map_that_goes_with_it_beside_the_finding() -> None:
    heat_map = make_capture(np.zeros((4, 4, 3), np.uint8), a_result(), a_source(), "how")
    ds, again = (make_report(a_result(), a_source(), heat_map) for _ in range(2))
    assert [value for concept, value in items_of(ds) if concept == "130401"] == [heat_map.SOPInstanceUID]
    assert evidence(ds, "CurrentRequestedProcedureEvidenceSequence") == [FILM.sop_uid, heat_map.SOPInstanceUID]
    assert bytes(file_bytes(ds)) == bytes(file_bytes(again))
    alone = make_report(a_result(), a_source())
    assert ds.SOPInstanceUID != alone.SOPInstanceUID
    assert values(a_result(), "130401") == []


def test_it_is_unverified_preliminary_and_complete_unless_more_is_to_come() -> None:
    ds = make_report(a_result(), a_source())
    assert (ds.VerificationFlag, ds.PreliminaryFlag, ds.CompletionFlag) == ("UNVERIFIED", "PRELIMINARY", "COMPLETE")
    assert make_report(a_result(is_complete=False), a_source()).CompletionFlag == "PARTIAL"


def test_every_place_that_shows_it_says_that_it_is_not_for_diagnosis() -> None:
    ds = make_report(a_result(), a_source())
    assert NOT_FOR_DIAGNOSIS == NOTICE
    assert NOTICE in ds.SeriesDescription
    assert NOTICE in ds.ContributingEquipmentSequence[-1].ContributionDescription
    assert NOTICE in [value for _, value in items_of(ds)]


def test_patient_and_study_are_those_of_the_film() -> None:
    ds = make_report(a_result(), a_source())
    assert (ds.StudyInstanceUID, ds.PatientID, ds.IssuerOfPatientID) == (STUDY_UID, "0815", "HOSPITAL")
    assert (ds.AccessionNumber, ds.StudyID, ds.StudyDate, ds.StudyTime) == ("A-17", "S1", "20261128", "231500.5")
    assert (str(ds.PatientName), ds.PatientBirthDate, ds.PatientSex) == ("M\u00fcller^J\u00fcrgen", "20230407", "M")
    assert ds.SpecificCharacterSet == "ISO_IR 100"


def test_the_same_result_is_the_same_bytes_and_any_change_is_another_object() -> None:
    first, again = (make_report(a_result(), a_source()) for _ in range(2))
    assert bytes(file_bytes(first)) == bytes(file_bytes(again))
    others = [
        make_report(a_result(threshold=0.6), a_source()),
        make_report(a_result(analysed_at=datetime(2026, 11, 30, tzinfo=UTC)), a_source()),
        make_report(a_result(), a_source(PatientName="Meyer^J")),
    ]
    assert len({ds.SOPInstanceUID for ds in (first, *others)}) == 4
    assert {ds.SeriesInstanceUID for ds in others} == {first.SeriesInstanceUID}
    assert first.SOPInstanceUID.startswith("2.25.")


def test_a_revision_names_its_predecessor_and_counts_up() -> None:
    earlier = make_report(a_result(), a_source())
    before = Predecessor(earlier.SOPClassUID, earlier.SOPInstanceUID, earlier.SeriesInstanceUID, 4)
    ds = make_report(a_result(predecessor=before), a_source())
    assert evidence(ds, "PredecessorDocumentsSequence") == [earlier.SOPInstanceUID]
    assert ds.PredecessorDocumentsSequence[0].StudyInstanceUID == STUDY_UID
    assert ds.InstanceNumber == 5
    assert "PredecessorDocumentsSequence" not in earlier


def test_times_are_those_of_the_analysis_in_the_zone_of_the_film() -> None:
    plain = make_report(a_result(), a_source())
    assert (plain.ContentDate, plain.ContentTime) == ("20261129", "083015")
    assert "TimezoneOffsetFromUTC" not in plain
    zoned = make_report(a_result(), a_source(TimezoneOffsetFromUTC="-1000"))
    assert (zoned.ContentDate, zoned.ContentTime) == ("20261128", "223015")
    assert zoned.TimezoneOffsetFromUTC == "-1000"
    assert plain.ContributingEquipmentSequence[-1].ContributionDateTime == "20261129083015+0000"
    assert a_result().analysed_at.utcoffset() == timedelta(0)


def test_it_is_known_again_as_our_own() -> None:
    assert facts_of(make_report(a_result(), a_source())).is_own_result


def test_neither_listener_worker_nor_the_builders_load_highdicom_before_a_report_is_made() -> None:
    modules = "worker.processes.listen, worker.processes.tasks, worker.intake.filing, worker.results.make, worker.cli.results.result"
    done = subprocess.run(
        [sys.executable, "-c", f"import {modules}, sys; sys.exit('highdicom' in sys.modules)"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
