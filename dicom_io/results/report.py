"""The structured report of a study: Comprehensive 3D SR, TID 1500 with one group of TID 1501 (IHE RAD AIR, 6.5.3).

The report says whether the finding pneumonia is present, absent or indeterminate, by which model, and on which films that
rests. It never says that a film is normal: the model looks for one finding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydicom.dataset import Dataset

from dicom_io.own_device import MANUFACTURER
from dicom_io.quiet import quiet_libraries
from dicom_io.results.codes import CERTAINTY, CHEST_X_RAY, LUNG, PERCENT, PNEUMONIA, STATUS, VISUAL_EXPLANATION
from dicom_io.results.objects import (
    GAVE_THE_RESULT,
    NOT_FOR_DIAGNOSIS,
    add_equipment,
    add_patient_and_study,
    add_times,
    sealed,
)
from dicom_io.results.result import as_written

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept, ImageContentItem, Measurement, MeasurementReport

    from dicom_io.results.codes import ResultCode
    from dicom_io.results.result import JudgedFilm, StudyResult
    from dicom_io.results.source_header import SourceHeader

#: Comprehensive 3D SR Storage.
REPORT_CLASS_UID = "1.2.840.10008.5.1.4.1.1.88.34"
SERIES_NUMBER = 9901


def make_report(result: StudyResult, source: SourceHeader, heat_map: Dataset | None = None) -> Dataset:
    """Make the report of a study.

    Parameters
    ----------
    result : StudyResult
        What is said.
    source : SourceHeader
        The header of the film that decides, for patient and study.
    heat_map : pydicom.dataset.Dataset, optional
        The picture of `make_capture` that goes with it: then the report refers to it, as the root of both.

    Returns
    -------
    pydicom.dataset.Dataset
        With file meta information, Explicit VR Little Endian; the same arguments always give the same bytes. It says
        UNVERIFIED and PRELIMINARY: a reading by a radiologist follows.
    """
    # A library of some ten thousand lines: only who makes a report loads it.
    from highdicom.sr import Comprehensive3DSR

    quiet_libraries()
    films = [_evidence(result.study_uid, film, source) for film in (*result.films, *result.other_films)]
    before = result.predecessor
    ds = Comprehensive3DSR(
        evidence=films if heat_map is None else [*films, heat_map],
        content=_content(result, heat_map),
        series_instance_uid=result.series_uid("report"),
        series_number=SERIES_NUMBER,
        sop_instance_uid="0.0",  # `sealed` computes it
        instance_number=before.instance_number + 1 if before else 1,
        manufacturer=MANUFACTURER,
        series_description=f"Auscult: pneumonia. {NOT_FOR_DIAGNOSIS}",
        is_complete=result.is_complete,
        is_final=False,
        is_verified=False,
        previous_versions=[_predecessor(result)] if before else None,
    )
    add_patient_and_study(ds, source)
    add_times(ds, result.analysed_at, source)
    add_equipment(ds, result.model, result.analysed_at, GAVE_THE_RESULT)
    return sealed(ds)


def _evidence(study_uid: str, film: JudgedFilm, source: SourceHeader) -> Dataset:
    """A film as far as a report refers to it; patient and study are written by `add_patient_and_study`."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = film.sop_class_uid, film.sop_uid
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study_uid, film.series_uid
    for name in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(ds, name, "")
    ds.StudyDate = ds.StudyTime = ""
    for name, value in source.equipment.items():
        setattr(ds, name, value)
    return ds


def _predecessor(result: StudyResult) -> Dataset:
    assert result.predecessor is not None
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = result.predecessor.sop_class_uid, result.predecessor.sop_uid
    ds.StudyInstanceUID, ds.SeriesInstanceUID = result.study_uid, result.predecessor.series_uid
    return ds


def _content(result: StudyResult, heat_map: Dataset | None) -> MeasurementReport:
    """The content tree."""
    from highdicom import sr

    model = result.model
    observer = sr.DeviceObserverIdentifyingAttributes(
        uid=model.device_uid, name="Auscult", manufacturer_name=MANUFACTURER, model_name=model.name
    )
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=result.tracking_uid, identifier="Auscult: pneumonia"),
        finding_type=_coded(PNEUMONIA),
        finding_sites=[sr.FindingSite(anatomic_location=_coded(LUNG))],
        algorithm_id=sr.AlgorithmIdentification(
            name=model.name,
            version=model.software_versions,
            manufacturer=MANUFACTURER,
            parameters=_parameters(result),
        ),
        measurements=_certainty(result),
        qualitative_evaluations=[sr.QualitativeEvaluation(_coded(PNEUMONIA), _coded(STATUS[result.status]))],
        source_images=[sr.SourceImageForMeasurementGroup(film.sop_class_uid, film.sop_uid) for film in result.films],
    )
    if heat_map is not None:
        group[0].ContentSequence.append(_explained_by(heat_map))
    device = sr.ObserverContext(observer_type=_device_type(), observer_identifying_attributes=observer)
    return sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=device),
        procedure_reported=_coded(CHEST_X_RAY),
        imaging_measurements=[group],
    )


def _explained_by(heat_map: Dataset) -> ImageContentItem:
    """The heat map as a picture of the evidence, beside the finding: TID 1501 may be extended."""
    from highdicom import sr

    return sr.ImageContentItem(
        name=_coded(VISUAL_EXPLANATION),
        referenced_sop_class_uid=heat_map.SOPClassUID,
        referenced_sop_instance_uid=heat_map.SOPInstanceUID,
        relationship_type=sr.RelationshipTypeValues.CONTAINS,
    )


def _parameters(result: StudyResult) -> list[str]:
    """Algorithm Parameters (111002, DCM): what the answer follows from, and what it is not."""
    model = result.model
    lines = [
        NOT_FOR_DIAGNOSIS,
        f"Score of pneumonia, from 0 to 1: {as_written(result.deciding.probability)}",
        f"Scores from this threshold on mean pneumonia: {result.threshold:.4f}",
        f"Band of the score: {result.band}" if result.band else "",
        "The score was calibrated on films of this site."
        if model.is_site_calibrated
        else "The score was not calibrated on films of this site: it is no certainty of the finding.",
        f"Film of the score, SOP Instance UID: {result.deciding.sop_uid}",
        f"Judged in spite of: {', '.join(result.flags)}" if result.flags else "",
        f"Weights, SHA-256: {model.weights_sha256}",
        f"Operating point, SHA-256: {model.digest}",
    ]
    return [line for line in lines if line]


def _certainty(result: StudyResult) -> list[Measurement] | None:
    """Certainty of Finding in percent; only a score that was calibrated on films of the site is one."""
    if not result.model.is_site_calibrated:
        return None
    from highdicom.sr import Measurement

    percent = round(100 * result.deciding.probability, 1)
    return [Measurement(_coded(CERTAINTY), min(max(percent, 0.1), 99.9), _coded(PERCENT))]


def _device_type() -> CodedConcept:
    from highdicom.sr import CodedConcept

    return CodedConcept("121007", "DCM", "Device")


def _coded(code: ResultCode) -> CodedConcept:
    from highdicom.sr import CodedConcept

    return CodedConcept(*code)
