"""The objects of a study's result: what a delivery sends, and what `auscult result` writes.

`result_objects` is the one place where they are made, so that a file and a delivery are the same object.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset

from dicom_io.errors import DicomIoError, FilmError
from dicom_io.results.earlier import read_predecessor
from dicom_io.results.report import make_report
from dicom_io.results.source_header import UTF_8, read_source_header, source_header_of
from model.errors import ModelError
from worker.db.read.answers import answered_studies
from worker.db.read.naming import StudyKey, check_one
from worker.errors import UsageError
from worker.results.study_result import study_result
from worker.stores import store_of

if TYPE_CHECKING:
    from dicom_io.results.result import Predecessor, StudyResult
    from dicom_io.results.source_header import SourceHeader
    from worker.database import Database
    from worker.db.read.answers import AnsweredStudy
    from worker.db.schema.study import Study
    from worker.settings import Settings


class OriginalMissing(UsageError):
    """The original of a film is not there or cannot be read, and a result object repeats its header."""


class NoHeatMap(UsageError):
    """No heat map of an answer can be made: its bundle is gone, or gives the film another score by now. A report can be made."""


@dataclass(frozen=True, slots=True)
class ResultRequest:
    """Of which study, and which objects.

    Attributes
    ----------
    study : str
        Study Instance UID, accession number or Patient ID.
    side : int or None
        The row of the study where several patients have one.
    with_heat_map : bool
        Whether a heat map is wanted beside the report.
    replaces : pathlib.Path, Predecessor or None
        The report that this one takes the place of, or a file with it.
    """

    study: str
    side: int | None = None
    with_heat_map: bool = False
    replaces: Path | Predecessor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ResultObjects:
    """What is said of a study, the objects that say it, and the name in the store of the film whose header they repeat."""

    result: StudyResult
    report: Dataset
    heat_map: Dataset | None = None
    film_key: str = ""
    model_id: int = 0

    @property
    def datasets(self) -> list[Dataset]:
        """The objects to be stored in a PACS, in the order in which they are to be sent: the report last, as it refers to the picture."""
        return [self.report] if self.heat_map is None else [self.heat_map, self.report]


def result_objects(settings: Settings, database: Database, request: ResultRequest) -> ResultObjects:
    """Make the objects of a study's result.

    The same answer and the same header give the same report, byte for byte, and a heat map of the same UID, whoever makes
    them and how often. A report that has a heat map beside it refers to it, so it is another one than the report alone.

    Raises
    ------
    NothingToReport
        If the study has no answer that may be repeated.
    NoHeatMap
        If a heat map is wanted and none can be made.
    UsageError
        If no study or several match, or the original of the film that decides is not there.
    """
    answered = _answered(database, request)
    result = study_result(settings, answered, _replaced(request, answered))
    source = _source(settings, answered)
    heat_map = _heat_map(settings, database, result, source) if request.with_heat_map else None
    assert answered.deciding is not None
    report = make_report(result, source, heat_map)
    return ResultObjects(result, report, heat_map, answered.deciding.store_key, answered.deciding.model_id)


def _heat_map(settings: Settings, database: Database, result: StudyResult, source: SourceHeader) -> Dataset:
    from worker.results.heat_map import make_heat_map  # loads the network and what draws

    try:
        return make_heat_map(settings, database, result, source)
    except (UsageError, ModelError, FilmError) as error:
        raise NoHeatMap(str(error)) from error


def _answered(database: Database, request: ResultRequest) -> AnsweredStudy:
    with database.reads() as session:
        found = answered_studies(session, request.study, request.side)
    check_one([StudyKey(study.study_uid, study.side) for study in found], request.study, request.side)
    return found[0]


def _replaced(request: ResultRequest, answered: AnsweredStudy) -> Predecessor | None:
    if not isinstance(request.replaces, Path):
        return request.replaces
    found = read_predecessor(request.replaces, answered.study_uid)
    if found is None:
        msg = f"{request.replaces} is not a report that Auscult made of the study {answered.study_uid}"
        raise UsageError(msg)
    return found


def _source(settings: Settings, answered: AnsweredStudy) -> SourceHeader:
    """The header of the film that decides, from its original."""
    assert answered.deciding is not None
    return source_in_store(settings, answered.deciding.store_key, answered.deciding.sop_uid)


def source_in_store(settings: Settings, store_key: str, named: str) -> SourceHeader:
    """The header of an original; `named`: what a message calls the film. Raises OriginalMissing, and StoreAway."""
    store = store_of(settings, known=True)
    try:
        return read_source_header(store.path(store_key))
    except (OSError, DicomIoError):
        store.check()
        msg = (
            f"the original of the film {named} is not there or cannot be read, and a result object repeats its patient "
            "and study: send the film again"
        )
        raise OriginalMissing(msg) from None


def source_of_row(study: Study) -> SourceHeader:
    """Patient and study as the row of a study names them; what no column holds, as the time of the study, is empty."""
    ds = Dataset()
    ds.SpecificCharacterSet = UTF_8
    ds.PatientName, ds.PatientID = study.patient_name, study.patient_id
    ds.IssuerOfPatientID, ds.PatientSex = study.issuer_of_patient_id, study.patient_sex
    ds.PatientBirthDate, ds.StudyDate = (
        day.strftime("%Y%m%d") if day else "" for day in (study.patient_birth_date, study.study_date)
    )
    ds.AccessionNumber, ds.StudyDescription = study.accession_number, study.study_description
    return source_header_of(ds)
