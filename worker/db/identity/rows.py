"""The rows of studies: found and locked, added for another patient, corrected by newer objects, merged.

Locks are taken in the order of ids. On PostgreSQL a lock on the SOP Instance UID comes before them, so that two studies
that receive the same UID at the same moment see each other; SQLite has one writer at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    BindParameter,
    String,
    bindparam,
    cast,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from worker.db.identity.aliases import Aliases, has_merges, shared_lock
from worker.db.identity.conflicts import move_conflicts, transmissions_in
from worker.db.identity.priorities import follow_request, priority_of
from worker.db.identity.rules import Patient, StudyRow, counting
from worker.db.schema.sql import fitted, insert_unless_there, table_of
from worker.db.schema.states import FILM, StudyState
from worker.db.schema.study import Correction, Image, RejectedObject, Study
from worker.db.schema.types import CLOCK_SLACK_MS, now_ms, now_utc

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

    from worker.db.identity.arrivals import Arrival

_PATIENT_COLUMNS = ("patient_id", "issuer_of_patient_id")
STUDY_COLUMNS = (
    *_PATIENT_COLUMNS,
    "patient_name",
    "patient_birth_date",
    "patient_sex",
    "accession_number",
    "study_date",
    "study_description",
    "requested_priority",
)


# Statements that each registration executes are built once: to build one costs several times what SQLite takes for it.
_CLOCKS = select(now_ms(), now_utc(), has_merges())
_KEYS = (
    select(
        func.hashtextextended(func.unnest(bindparam("uids", type_=ARRAY(String))), cast(0, BigInteger)).label("number")
    )
    .distinct()
    .order_by("number")
    .subquery()
)
_TURN = select(shared_lock(), func.pg_advisory_xact_lock(_KEYS.c.number))
_STUDY, _IMAGE, _NAMED = table_of(Study).c, table_of(Image).c, table_of(RejectedObject).c
_SOPS: BindParameter[str] = bindparam("sops", expanding=True)
#: What a line of `_ON_RECORD` is: a row of the study, one with a version of the object, or a note that names the object.
_OWN, _HOLDER, _NOTE = range(3)
_ON_RECORD = (
    select(_STUDY.id, _STUDY.study_uid, literal(_OWN))
    .where(_STUDY.study_uid.in_(bindparam("studies", expanding=True)), _STUDY.merged_into_id.is_(None))
    .union_all(
        select(_IMAGE.study_id, _IMAGE.sop_uid, literal(_HOLDER)).where(_IMAGE.sop_uid.in_(_SOPS)),
        select(_NAMED.note_id, _NAMED.sop_uid, literal(_NOTE)).where(_NAMED.sop_uid.in_(_SOPS)),
    )
)
_LOCK_ROWS = (
    select(Study)
    .where(Study.id.in_(bindparam("ids", expanding=True)))
    .order_by(Study.id)
    .with_for_update(key_share=True)
    .execution_options(populate_existing=True)
)
_MAKE_CURRENT = (
    update(table_of(Image))
    .where(
        Image.study_id == bindparam("of_study"),
        Image.sop_uid == bindparam("of_sop"),
        Image.sha256 == bindparam("of_sha"),
    )
    .values(is_current=True)
)


@dataclass(frozen=True, slots=True)
class Locked:
    """The rows that an arrival may change: those of its Study Instance UID, and others with its SOP Instance UID."""

    own: list[Study]
    foreign: list[Study]


@dataclass(frozen=True, slots=True)
class LockedRows:
    """The rows that some arrivals may change."""

    #: Those that are shown.
    live: list[Study]
    #: Study Instance UIDs whose first row was added for these arrivals.
    added: frozenset[str]
    #: SOP Instance UIDs of which versions are on record, and those that notes on record name.
    known: frozenset[str]

    def of(self, study_uid: str) -> Locked:
        """The rows as an arrival of this study sees them."""
        return Locked(
            sorted((study for study in self.live if study.study_uid == study_uid), key=lambda study: study.side),
            [study for study in self.live if study.study_uid != study_uid],
        )


def begin(session: Session, sop_uids: Iterable[str]) -> tuple[int, datetime, Aliases]:
    """Begin a registration: the database's clock in ms and as a moment, and who the patients are by now.

    On PostgreSQL this waits for others that register the same SOP UIDs, and for a patient merge. The locks are taken in
    the order of their numbers, so that nobody waits in a circle.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_TURN, {"uids": list(sop_uids)}).all()
    clock, moment, is_any = session.execute(_CLOCKS).one()
    return clock, moment, Aliases(session, is_empty=not is_any)


def lock_rows(session: Session, arrivals: Sequence[Arrival], also: Iterable[int] = ()) -> LockedRows:
    """Lock the rows that arrivals may change, and `also` these, in the order of ids; first rows of new studies are added.

    They are added before anything is locked, in the order of their UIDs: others that add the same ones do that, too.
    """
    first = {arrival.facts.study_uid: arrival for arrival in reversed(arrivals)}
    asked = {"studies": list(first), "sops": list({arrival.facts.sop_uid for arrival in arrivals})}
    locked: dict[int, Study] = {}
    added: set[str] = set()
    #: Rows that were deleted before they could be locked.
    gone: set[int] = set()
    while True:
        found = session.execute(_ON_RECORD, asked).all()
        new = sorted(first.keys() - {uid for _, uid, what in found if what == _OWN})
        made = insert_unless_there(session, Study, [_values(first[uid], 0) for uid in new], "study_uid", "side")
        added |= made.keys()
        if len(made) < len(new):
            # Somebody else was quicker.
            found = session.execute(_ON_RECORD, asked).all()
        ids = {*(study_id for study_id, _, what in found if what != _NOTE), *made.values(), *also}
        missing = ids - locked.keys() - gone
        if not missing:
            break
        locked |= {study.id: study for study in session.scalars(_LOCK_ROWS, {"ids": sorted(missing)})}
        gone |= missing - locked.keys()
        if not gone and all(locked[study_id].study_uid in added for study_id in ids):
            # Nobody else sees these rows yet, so nobody has added or moved anything.
            break
    return LockedRows(
        [study for study in locked.values() if study.merged_into_id is None],
        frozenset(added),
        frozenset(uid for _, uid, what in found if what != _OWN),
    )


def add_side(session: Session, arrival: Arrival) -> Study:
    """Add a row for another patient of a Study Instance UID; the caller holds the locks of its other rows."""
    side = session.scalar(select(func.max(Study.side)).where(Study.study_uid == arrival.facts.study_uid)) or 0
    values = fitted(Study, _values(arrival, side + 1))
    return session.execute(insert(Study).values(values).returning(Study)).scalar_one()


def _values(arrival: Arrival, side: int) -> dict[str, Any]:
    return header_of(arrival) | {
        "study_uid": arrival.facts.study_uid,
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
        "priority": arrival.priority or priority_of(arrival.facts.requested_priority),
        "side": side,
        "columns_at_ms": arrival.arrived_ms,
        "quiet_ms": arrival.quiet_ms,
        "max_wait_ms": arrival.max_wait_ms,
    }


def header_of(arrival: Arrival) -> dict[str, Any]:
    """What an object says of patient and study; where a merge made its patient another one, with that one's ID."""
    values = {name: getattr(arrival.facts, name) for name in STUDY_COLUMNS}
    patient = arrival.patient
    if patient != arrival.named:
        text = arrival.aliases.text_of(patient.key)
        values |= {"patient_id": text or values["patient_id"], "issuer_of_patient_id": patient.issuer}
    return values


def patient_of(study: Study) -> Patient:
    """The patient of a row: rows follow merges, so this is who is meant by now."""
    return Patient.of(study.patient_id, study.issuer_of_patient_id)


def row_facts(session: Session, aliases: Aliases, study: Study, sop_uid: str) -> StudyRow:
    """A row with the patients whom its films name, except those of one SOP Instance UID."""
    others = select(Image.patient_key, Image.issuer_of_patient_id).where(
        Image.study_id == study.id, Image.is_current, Image.sop_uid != sop_uid
    )
    # An image from before schema 0005 has none of these columns; its patient is that of its row.
    is_known = or_(Image.patient_key != "", Image.pixel_sha256 != "", ~Image.has_pixel_data)
    known = session.execute(others.where(is_known).distinct()).all()
    unknown = session.execute(others.where(~is_known).limit(1)).first()
    patients = [aliases.of(Patient(key, issuer)) for key, issuer in known] + ([patient_of(study)] if unknown else [])
    return StudyRow(study.id, study.side, patient_of(study), tuple(patients))


def update_columns(
    session: Session, study: Study, arrival: Arrival, image_id: int, *, has_versions: bool = True
) -> None:
    """Copy patient and study fields of an object to its row if it is the newest; overwritten values become corrections.

    An older object only fills blanks, and a blank value overwrites nothing. A newer version of the only object of a row
    is the exception: what it leaves blank was wrong. Patient ID and issuer change together when the patient changes.
    `has_versions`: whether the object may be a version of another one.
    """
    values = fitted(Study, header_of(arrival))
    # A moment ahead of the clock was written before the clock was set back.
    was_set_back = study.columns_at_ms > arrival.clock_ms + CLOCK_SLACK_MS
    is_newer = arrival.arrived_ms >= study.columns_at_ms or was_set_back
    would_clear = has_versions and is_newer and any(getattr(study, name) and not new for name, new in values.items())
    is_only = would_clear and _is_only_object(session, study.id, arrival.facts.sop_uid)
    is_other = not arrival.patient.may_be(patient_of(study))
    for name, new in values.items():
        old = getattr(study, name)
        identifies = name in _PATIENT_COLUMNS
        clears = is_other if identifies else is_only
        if old == new or not (new or clears) or (old and not is_newer and not (identifies and is_other)):
            continue
        if old:
            _note(session, study.id, arrival.source, image_id, name, str(old), str(new or ""))
        setattr(study, name, new)
    if is_newer:
        study.columns_at_ms = arrival.arrived_ms
    follow_request(session, study)


def _is_only_object(session: Session, study_id: int, sop_uid: str) -> bool:
    other = select(Image.id).where(Image.study_id == study_id, Image.is_current, Image.sop_uid != sop_uid)
    return session.execute(other.limit(1)).first() is None


def _note(  # noqa: PLR0913, PLR0917 - the columns of a correction
    session: Session, study_id: int, source: str, image_id: int | None, column: str, old: str, new: str
) -> None:
    values = {"study_id": study_id, "image_id": image_id, "source": source, "column_name": column, "at": now_utc()}
    session.execute(insert(Correction).values(fitted(Correction, values | {"old_value": old, "new_value": new})))


def record_film_moved(session: Session, study: Study, target: Study, image_ids: Iterable[int], source: str) -> None:
    """Record in a row that one of its films turned out to be of another patient."""
    for image_id in sorted(image_ids):
        _note(session, study.id, source, image_id, FILM, f"side {study.side}", f"side {target.side}")


@dataclass(frozen=True, slots=True)
class Cause:
    """Who or what merges two rows, for the record."""

    who: str
    why: str
    source: str = ""
    image_id: int | None = None


def merge(session: Session, leading: Study, other: Study, cause: Cause) -> Study:
    """Merge two rows: the films of the later row move to the earlier one. Returns the earlier row.

    The patient is that of the leading row; the other columns are those of the row with the newest object.
    """
    kept, gone = sorted((leading, other), key=lambda study: study.side)
    newer = max((kept, gone), key=lambda study: study.columns_at_ms)
    session.flush()
    winners = _winners(session, kept.id, gone.id)
    for sop_uid in winners:
        set_current(session, (kept.id, gone.id), sop_uid, None)
    for table in (Image, Correction):
        session.execute(
            update(table).where(table.study_id == gone.id).values(study_id=kept.id).execution_options(**_UNSYNCED)
        )
    for sop_uid, sha256 in winners.items():
        set_current(session, (kept.id,), sop_uid, sha256)
    for name in STUDY_COLUMNS:
        first = leading if name in _PATIENT_COLUMNS else newer
        old, new = getattr(kept, name), getattr(first, name) or getattr(kept, name)
        if old and old != new:
            _note(session, kept.id, cause.source, cause.image_id, name, str(old), str(new))
        setattr(kept, name, new)
    kept.columns_at_ms = newer.columns_at_ms
    follow_request(session, kept)
    kept.first_rx_at = min(kept.first_rx_at, gone.first_rx_at)
    kept.last_rx_at = max(kept.last_rx_at, gone.last_rx_at)
    # The merged row waits as long as either of the two.
    kept.force_at_ms = max(kept.force_at_ms, gone.force_at_ms)
    kept.ready_at_ms = max(kept.ready_at_ms, gone.ready_at_ms)
    gone.merged_into_id = kept.id
    move_conflicts(session, gone.id, kept.id, who=cause.who, why=cause.why)
    return kept


def _winners(session: Session, *study_ids: int) -> dict[str, str]:
    """The version that counts of each film that counts in several of the rows: SHA-256 by SOP Instance UID."""
    twice = (
        select(Image.sop_uid)
        .where(Image.study_id.in_(study_ids), Image.is_current)
        .group_by(Image.sop_uid)
        .having(func.count() > 1)
    )
    return {
        sop_uid: counting([sent for study_id in study_ids for _, sent in transmissions_in(session, study_id, sop_uid)])
        for sop_uid in session.scalars(twice).all()
    }


def set_current(session: Session, study_ids: Iterable[int], sop_uid: str, sha256: str | None) -> None:
    """Let one version of a film count in these rows, or none (`sha256` None)."""
    ids = tuple(study_ids)
    film = update(Image).where(Image.study_id.in_(ids), Image.sop_uid == sop_uid, Image.is_current)
    session.execute(film.values(is_current=False).execution_options(**_UNSYNCED))
    if sha256 is not None:
        for study_id in ids:
            make_current(session, study_id, sop_uid, sha256)


def make_current(session: Session, study_id: int, sop_uid: str, sha256: str) -> None:
    """Let a version of a film count in a row in which none does."""
    session.execute(_MAKE_CURRENT, {"of_study": study_id, "of_sop": sop_uid, "of_sha": sha256})


_UNSYNCED: dict[str, Any] = {"synchronize_session": False}
