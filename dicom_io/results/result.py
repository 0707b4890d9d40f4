"""What is said about a study, as plain values: no data set, no SQL, no network."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from dicom_io.own_device import device_uid, uid_of

if TYPE_CHECKING:
    from datetime import datetime


class FindingStatus(StrEnum):
    """Whether the finding is there, as far as the model can tell (SNOMED CT qualifiers)."""

    PRESENT = "PRESENT"
    ABSENT = "ABSENT"
    #: The score lies in the middle band: the model cannot tell.
    INDETERMINATE = "INDETERMINATE"


@dataclass(frozen=True, slots=True)
class ResultModel:
    """The model that gave the result.

    Attributes
    ----------
    name, version : str
        Of the bundle, for example "auscult" and "2".
    weights_sha256, digest : str
        SHA-256 (hex) of its weights, and of its operating point: threshold, calibration, bands and scope.
    is_site_calibrated : bool
        Whether its probabilities were calibrated on films of this site; only then is a probability a certainty.
    """

    name: str
    version: str
    weights_sha256: str
    digest: str
    is_site_calibrated: bool = False

    @property
    def software_versions(self) -> str:
        """Software Versions (0018,1020): the version, and the beginnings of both digests; at most 64 characters."""
        return f"{self.version} weights {self.weights_sha256[:12]} point {self.digest[:12]}"

    @property
    def device_uid(self) -> str:
        """Device UID (0018,1002); a model with other weights or another operating point has another one."""
        return device_uid(self.name, self.software_versions)


@dataclass(frozen=True, slots=True)
class JudgedFilm:
    """A film that was judged.

    Attributes
    ----------
    sop_class_uid, sop_uid, series_uid : str
        The film as the PACS knows it.
    probability : float
        Of pneumonia, 0 to 1, as the model gave it.
    """

    sop_class_uid: str
    sop_uid: str
    series_uid: str
    probability: float


@dataclass(frozen=True, slots=True)
class Predecessor:
    """An earlier object of Auscult that this result takes the place of; in the same study."""

    sop_class_uid: str
    sop_uid: str
    series_uid: str
    #: Instance Number (0020,0013), 1 or more.
    instance_number: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResult:
    """What is said about a study.

    Attributes
    ----------
    study_uid : str
        Study Instance UID.
    side : int
        0, or the number of the patient where objects of one Study Instance UID name several.
    status : FindingStatus
        Of the finding pneumonia.
    films : tuple of JudgedFilm
        The judged films on which the status rests, the one that decides first; at least one.
    other_films : tuple of JudgedFilm
        Judged films of the study on which it does not rest.
    threshold : float
        The probability from which on the model says pneumonia.
    band : str
        LOW, INTERMEDIATE or HIGH; "" where the model has no bands.
    flags : tuple of str
        Reason codes in spite of which the study was answered.
    model : ResultModel
        What gave the result.
    analysed_at : datetime.datetime
        When the analysis of the film that decides began; with its time zone.
    is_complete : bool
        Whether all films of the study were judged; False for an answer while more is to come.
    predecessor : Predecessor or None
        The report that this one takes the place of.
    """

    study_uid: str
    side: int
    status: FindingStatus
    films: tuple[JudgedFilm, ...]
    other_films: tuple[JudgedFilm, ...] = ()
    threshold: float
    band: str = ""
    flags: tuple[str, ...] = ()
    model: ResultModel
    analysed_at: datetime
    is_complete: bool = True
    predecessor: Predecessor | None = None

    @property
    def deciding(self) -> JudgedFilm:
        """The film whose score is the study's."""
        return self.films[0]

    @property
    def tracking_uid(self) -> str:
        """Tracking Unique Identifier (112040, DCM): the same for every model, run and revision of this study."""
        return uid_of("tracking", "pneumonia", self.study_uid, str(self.side))

    def series_uid(self, kind: str) -> str:
        """Series Instance UID of the objects of one kind that one model makes of this study."""
        return series_uid(kind, self.study_uid, self.side, self.model)


def series_uid(kind: str, study_uid: str, side: int, model: ResultModel) -> str:
    """Series Instance UID of the objects of one kind ("report", "heat map", "rejection note") of one model and study."""
    return uid_of("series", kind, study_uid, str(side), model.device_uid)


def as_written(probability: float) -> str:
    """A probability with three decimals, never 0 or 1, which would claim certainty."""
    if probability < 0.001:
        return "below 0.001"
    return "above 0.999" if probability > 0.999 else f"{probability:.3f}"
