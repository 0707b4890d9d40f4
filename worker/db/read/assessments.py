"""What people say of the answers: a verdict added through the public view, and the labels of readers for films."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, insert, select
from sqlalchemy.exc import DBAPIError

from dicom_io.reasons import Outcome
from model.labels import Label
from worker.db.read.naming import StudyKey
from worker.db.schema.study import Image, Result, Study
from worker.db.schema.views import AGREEMENT, ASSESSMENTS, Row
from worker.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a reader says of a study; without `verdict` and `label` that it was read."""

    reader: str
    #: AGREE or DISAGREE.
    verdict: str | None = None
    label: str | None = None
    blinded: bool = False
    airai_code: str | None = None


def assess_study(session: Session, key: StudyKey, verdict: Verdict) -> None:
    """Add a verdict as a vendor does, by one INSERT into the view; raises `UsageError` for one that cannot be."""
    try:
        session.execute(insert(ASSESSMENTS).values(**key._asdict(), **asdict(verdict)))
    except DBAPIError as error:
        if _is_refused(error):
            msg = (
                "this verdict cannot be: AGREE and DISAGREE need an answer with a label, AGREE its label, DISAGREE another, "
                "and a reader has a name"
            )
            raise UsageError(msg) from error
        raise


def _is_refused(error: DBAPIError) -> bool:
    """Whether a CHECK of the table or the trigger refuses the row."""
    return getattr(error.orig, "sqlstate", None) in {"23514", "P0002", "02000"} or (
        getattr(error.orig, "sqlite_errorname", "") in {"SQLITE_CONSTRAINT_CHECK", "SQLITE_CONSTRAINT_TRIGGER"}
    )


def agreement(session: Session) -> list[Row]:
    """How often readers agreed with each model: in all, by day, by device and by band."""
    statement = select(AGREEMENT).order_by(
        AGREEMENT.c.model_name, AGREEMENT.c.model_version, AGREEMENT.c.by_what.desc(), AGREEMENT.c.day
    )
    return [dict(row) for row in session.execute(statement).mappings()]


@dataclass(frozen=True, slots=True)
class LabelledFilm:
    """A film with the label of a reader."""

    study_uid: str
    side: int
    store_key: str
    label: str
    #: SHA-256 of the Patient ID; the Study Instance UID where it has none.
    patient: str
    blinded: bool
    #: Manufacturer, model, station, the answer's label and its band.
    subgroups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LabelledFilms:
    """Films with labels, and how many verdicts name no film."""

    films: list[LabelledFilm]
    #: Studies with several judged films of which the reader says PNEUMONIA.
    ambiguous: int
    #: Verdicts without a label.
    unlabelled: int


def labelled_films(
    session: Session, *, disagreements: bool = False, blinded: bool = False, since: datetime | None = None
) -> LabelledFilms:
    """The judged films of studies that a person has labelled, by the last label on the present revision."""
    view = ASSESSMENTS.c
    wanted = select(ASSESSMENTS).where(view.is_latest).order_by(view.assessment_id)
    if disagreements:
        wanted = wanted.where(view.verdict == "DISAGREE")
    if blinded:
        wanted = wanted.where(view.blinded)
    if since is not None:
        wanted = wanted.where(view.at >= since)
    # The last one of a study counts, whatever model it was about.
    last = {StudyKey(row["study_uid"], row["side"]): dict(row) for row in session.execute(wanted).mappings()}
    films = _judged_films(session, list(last))
    found: list[LabelledFilm] = []
    ambiguous = 0
    for key, row in last.items():
        of_study = [film for film in films[key] if film.revision == row["revision"]]
        if not row["label"]:
            continue
        if len(of_study) > 1 and row["label"] != Label.NORMAL:
            ambiguous += 1
            continue
        found += [_labelled(key, row, film) for film in of_study]
    return LabelledFilms(found, ambiguous, sum(not row["label"] for row in last.values()))


def _judged_films(session: Session, keys: list[StudyKey]) -> dict[StudyKey, list[Any]]:
    films: dict[StudyKey, list[Any]] = defaultdict(list)
    for key in keys:
        statement = (
            select(Image, Study.revision)
            .join(Study, Study.id == Image.study_id)
            .join(Result, and_(Result.image_id == Image.id, Result.is_current))
            .where(
                Study.study_uid == key.study_uid,
                Study.side == key.side,
                Image.is_current,
                Image.original_purged_at.is_(None),
                Result.outcome == Outcome.OK,
            )
            .order_by(Image.id)
        )
        films[key] = [_Film(image, revision) for image, revision in session.execute(statement)]
    return films


class _Film(NamedTuple):
    image: Image
    revision: int


def _labelled(key: StudyKey, row: Row, film: _Film) -> LabelledFilm:
    image = film.image
    groups = (image.manufacturer, image.device_model, image.station_name, row["answer_label"], row["band"])
    return LabelledFilm(
        key.study_uid,
        key.side,
        image.store_key,
        row["label"],
        image.patient_key or key.study_uid,
        bool(row["blinded"]),
        tuple(group or "" for group in groups),
    )
