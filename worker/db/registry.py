"""Step 3 of the flow in SQL: an object becomes rows for its study, its image and its task.

Any number of registrars may work at once, in any order: the study's row is locked first, and unique keys decide the
rest. A SOP Instance UID is one image in the whole database, as the standard has it: other bytes under the same UID,
in the same study or in another one (an archive's correction), make the older bytes an earlier version.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, insert, select, update
from sqlalchemy.exc import IntegrityError

from worker.db.answers import lock_study, recompute
from worker.db.models import in_use
from worker.db.schema import Image, Refusal, Study, Task
from worker.db.shadow import shadow_batch
from worker.db.sql import chunks, fitted, insert_unless_there
from worker.db.states import OPEN_STATES, StudyState, TaskState
from worker.db.types import now_ms, now_utc

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.orm import Session

    from dicom_io.header import Facts
    from dicom_io.journal import RefusalRecord

__all__ = ["Registration", "add_refusals", "push_ready", "register", "release_studies"]

KIND_SCORE = "SCORE"
#: How much later than the live work and the re-runs of the same study a shadow's task comes.
SHADOW_DELAY = 100
#: Columns of an image that are facts of its header under the same name.
GATE_COLUMNS = (
    "sop_class_uid",
    "transfer_syntax_uid",
    "modality",
    "body_part",
    "view_position",
    "age_months",
    "rows",
    "columns",
    "presentation_intent",
    "number_of_frames",
    "has_pixel_data",
    "species",
    "derivation",
    "is_test_object",
    "burned_in_annotation",
    "polarity_in_doubt",
)
_IMAGE_COLUMNS = ("series_uid", "sop_uid", "calling_aet", "peer", *GATE_COLUMNS)
_STUDY_COLUMNS = (
    "patient_id",
    "patient_name",
    "patient_birth_date",
    "patient_sex",
    "accession_number",
    "study_date",
    "study_description",
)
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Registration:
    """What became of an object."""

    study_id: int
    image_id: int
    #: The live task of the image: of a duplicate the one it has had since it first came.
    task_id: int | None
    is_new_image: bool
    is_duplicate: bool
    revision: int
    #: The task of the shadow model, when the image is new and there is a shadow.
    shadow_task_id: int | None
    #: Where the image's original lies; another key than the one just filed means that that copy is not needed.
    store_key: str


@dataclass(frozen=True, slots=True)
class _Arrival:
    """An object on its way into the tables."""

    facts: Facts
    sha256: str
    store_key: str
    quiet_ms: int
    max_wait_ms: int
    priority: int
    clock_ms: int
    arrived_ms: int
    at: datetime

    @property
    def ready_at_ms(self) -> int:
        """When a study counts as complete whose last object this is."""
        return min(self.arrived_ms + self.quiet_ms, self.clock_ms + self.max_wait_ms)


def register(  # noqa: PLR0913 - one named value each for what an object is and how its study waits
    session: Session,
    *,
    facts: Facts,
    sha256: str,
    store_key: str,
    quiet_ms: int,
    max_wait_ms: int,
    received_at: datetime | None = None,
    arrived_ms: int | None = None,
    priority: int = 0,
) -> Registration:
    """Write the rows of one object in the caller's transaction; the same bytes again are only counted.

    `arrived_ms`: when it was acknowledged, on the database's clock, from which its quiet time runs; by default now.
    The model of its task is the one that is active in this very transaction; raises `NoActiveModel` without one.
    """
    clock, moment = session.execute(select(now_ms(), now_utc())).one()
    at = received_at or moment
    came = clock if arrived_ms is None else min(arrived_ms, clock)
    arrival = _Arrival(facts, sha256, store_key, quiet_ms, max_wait_ms, priority, clock, came, at)
    study = _study(session, arrival)
    known = session.execute(
        select(Image.id, Image.store_key).where(Image.sop_uid == facts.sop_uid, Image.sha256 == sha256)
    ).one_or_none()
    if known:
        return _count_again(session, study, arrival, known.id, known.store_key)
    return _add(session, study, arrival)


def _study(session: Session, arrival: _Arrival) -> Study:
    """Find or make the study's row and lock it; of several that make it at once one succeeds and the others wait."""
    facts = arrival.facts
    values = {name: getattr(facts, name) for name in _STUDY_COLUMNS} | {
        "study_uid": facts.study_uid,
        "first_rx_at": arrival.at,
        "last_rx_at": arrival.at,
        "revision_at": arrival.at,
        "ready_at_ms": arrival.ready_at_ms,
        "force_at_ms": arrival.clock_ms + arrival.max_wait_ms,
        "revision": 1,
        "state": StudyState.RECEIVING,
        "flags": (),
        "n_images": 0,
        "n_scored": 0,
        "priority": arrival.priority,
        "side": 0,
        "issuer_of_patient_id": "",
        "columns_at_ms": arrival.clock_ms,
        "quiet_ms": arrival.quiet_ms,
        "max_wait_ms": arrival.max_wait_ms,
    }
    insert_unless_there(session, Study, [values], "study_uid", "side")
    study_id = session.execute(select(Study.id).where(Study.study_uid == facts.study_uid, Study.side == 0)).scalar_one()
    study = lock_study(session, study_id)
    for name in _STUDY_COLUMNS:
        # The first object may have been one without them; what is there is not overwritten.
        if not getattr(study, name):
            setattr(study, name, fitted(Study, {name: getattr(facts, name)})[name])
    study.first_rx_at = min(study.first_rx_at, arrival.at)
    study.last_rx_at = max(study.last_rx_at, arrival.at)
    return study


def _count_again(session: Session, study: Study, arrival: _Arrival, image_id: int, store_key: str) -> Registration:
    """Count the same bytes; a study that still waits goes on waiting, a finished one is left alone.

    A spool entry that is registered again after a crash between commit and removal comes under the key it already has:
    it was received once.
    """
    if store_key != arrival.store_key:
        session.execute(update(Image).where(Image.id == image_id).values(rx_count=Image.rx_count + 1))
    if not study.state.is_terminal:
        _push(study, arrival)
    task_id = session.execute(
        select(Task.id).where(Task.image_id == image_id, Task.batch_id.is_(None)).order_by(Task.id.desc()).limit(1)
    ).scalar_one_or_none()
    session.flush()
    return Registration(
        study.id,
        image_id,
        task_id,
        is_new_image=False,
        is_duplicate=True,
        revision=study.revision,
        shadow_task_id=None,
        store_key=store_key,
    )


def _push(study: Study, arrival: _Arrival) -> None:
    study.ready_at_ms = min(max(study.ready_at_ms, arrival.ready_at_ms), study.force_at_ms)


def _add(session: Session, study: Study, arrival: _Arrival) -> Registration:
    image_id, displaced = _insert_image(session, study, arrival)
    if study.state.is_terminal or displaced is not None:
        study.revision += 1
        study.revision_at = arrival.at
        study.force_at_ms = arrival.clock_ms + arrival.max_wait_ms
        study.ready_at_ms = arrival.ready_at_ms
        study.n_expected = None
    else:
        _push(study, arrival)
    task_id, shadow_task_id = _insert_tasks(session, study, arrival, image_id)
    recompute(session, study.id)
    if displaced is not None and displaced != study.id:
        _answer_anew(session, displaced, arrival)
    return Registration(
        study.id,
        image_id,
        task_id,
        is_new_image=True,
        is_duplicate=False,
        revision=study.revision,
        shadow_task_id=shadow_task_id,
        store_key=arrival.store_key,
    )


def _insert_image(session: Session, study: Study, arrival: _Arrival) -> tuple[int, int | None]:
    """Insert the image as the current one of its SOP UID; also the study whose image it displaced, if any.

    Two studies that receive the same SOP UID at the same moment hold different locks: the unique index lets one in, the
    other looks again.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with session.begin_nested():
                displaced = _displace(session, study, arrival.facts.sop_uid)
                bump = study.state.is_terminal or displaced is not None
                values = _image_values(study, arrival) | {"revision": study.revision + bump}
                return session.execute(insert(Image).values(values).returning(Image.id)).scalar_one(), displaced
        except IntegrityError:
            if attempt == _ATTEMPTS:
                raise
    raise AssertionError


def _displace(session: Session, study: Study, sop_uid: str) -> int | None:
    """Make the current image of this SOP UID an earlier version; returns its study."""
    found = session.execute(
        select(Image.id, Image.study_id).where(Image.sop_uid == sop_uid, Image.is_current)
    ).one_or_none()
    if found is None:
        return None
    if found.study_id != study.id:
        lock_study(session, found.study_id)
    session.execute(update(Image).where(Image.id == found.id).values(is_current=False))
    return int(found.study_id)


def _answer_anew(session: Session, study_id: int, arrival: _Arrival) -> None:
    """Decide again for a study whose image now belongs to another one."""
    study = lock_study(session, study_id)
    study.revision += 1
    study.revision_at = arrival.at
    recompute(session, study_id)


def _image_values(study: Study, arrival: _Arrival) -> dict[str, Any]:
    values = {name: getattr(arrival.facts, name) for name in _IMAGE_COLUMNS}
    return fitted(Image, values) | {
        "study_id": study.id,
        "sha256": arrival.sha256,
        "store_key": arrival.store_key,
        "rx_count": 1,
        "is_current": True,
        "received_at": arrival.at,
        "patient_key": "",
        "issuer_of_patient_id": "",
        "pixel_sha256": "",
    }


def _insert_tasks(session: Session, study: Study, arrival: _Arrival, image_id: int) -> tuple[int, int | None]:
    """Add the live task of the active model, and that of the shadow if there is one."""
    models = in_use(session)
    task_id = _insert_task(session, study, arrival, image_id, models.active_id)
    if models.shadow_id is None:
        return task_id, None
    batch_id = shadow_batch(session, models.shadow_id)
    return task_id, _insert_task(session, study, arrival, image_id, models.shadow_id, batch_id)


def _insert_task(
    session: Session, study: Study, arrival: _Arrival, image_id: int, model_id: int, batch_id: int | None = None
) -> int:
    values = {
        "kind": KIND_SCORE,
        "image_id": image_id,
        "model_id": model_id,
        "batch_id": batch_id,
        "revision": study.revision,
        "idem_key": f"score:{image_id}:{model_id}" + (f":{batch_id}" if batch_id else ""),
        "state": TaskState.PENDING,
        "priority": arrival.priority + (SHADOW_DELAY if batch_id else 0),
        "attempts": 0,
        "not_before_ms": 0,
        "lease_token": 0,
        "hint_count": 0,
        "created_at": now_utc(),
    }
    return session.execute(insert(Task).values(values).returning(Task.id)).scalar_one()


def push_ready(session: Session, study_uids: Sequence[str]) -> None:
    """Keep studies of open associations from counting as complete, up to the longest wait."""
    wanted = now_ms() + Study.quiet_ms
    later = case((wanted < Study.force_at_ms, wanted), else_=Study.force_at_ms)
    for some in chunks(study_uids):
        session.execute(
            update(Study)
            .where(Study.study_uid.in_(some), Study.state.in_(OPEN_STATES), Study.ready_at_ms < later)
            .values(
                ready_at_ms=later,
                state=case((Study.state == StudyState.QUEUED, StudyState.RECEIVING.value), else_=Study.state),
            )
            .execution_options(synchronize_session=False)
        )


def release_studies(session: Session, study_ids: Sequence[int]) -> None:
    """Let studies count as complete now: whoever brought their objects says that all of them are there."""
    for some in chunks(study_ids):
        session.execute(
            update(Study)
            .where(Study.id.in_(some), Study.state.in_(OPEN_STATES), Study.ready_at_ms > now_ms())
            .values(ready_at_ms=now_ms())
            .execution_options(synchronize_session=False)
        )


def add_refusals(session: Session, records: Iterable[RefusalRecord]) -> None:
    """Write what was turned away at the door; reading the journal twice adds nothing."""
    rows = [
        {
            "uid": record.uid,
            "at": _moment(record.at),
            "kind": str(record.kind),
            "reason_code": str(record.reason),
            "calling_aet": record.calling_aet,
            "called_aet": record.called_aet,
            "peer": record.peer,
            "study_uid": record.study_uid,
            "sop_uid": record.sop_uid,
            "times": record.count,
        }
        for record in records
    ]
    for some in chunks(rows):
        insert_unless_there(session, Refusal, some, "uid")


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
