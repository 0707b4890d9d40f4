"""The rows of a study after a merge of patients, or its end: what `placement` says is written.

The caller holds the locks of all rows of the study. Nothing is lost: a row whose films went to another one keeps its
columns and its decided conflicts, and is shown again when the merge ends.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, exists, func, insert, or_, select, update

from worker.db.identity import conflicts
from worker.db.identity.headers import forget, headers_in, keep_row, named_by
from worker.db.identity.placement import Film, RowFacts, place
from worker.db.identity.rows import STUDY_COLUMNS, patient_of, record_film_moved
from worker.db.identity.rules import Patient, Transmission
from worker.db.identity.versions import versions_in
from worker.db.schema.sql import chunks
from worker.db.schema.states import ConflictEnd, ConflictKind, StudyState
from worker.db.schema.study import Conflict, Image, Receipt, Study
from worker.db.schema.types import now_utc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from worker.db.identity.aliases import Aliases
    from worker.db.identity.placement import Placement
    from worker.db.identity.rows import Cause

_UNSYNCED: dict[str, Any] = {"synchronize_session": False}
_DECIDED = (ConflictEnd.HELD, ConflictEnd.CLAIM, ConflictEnd.BOTH)


@dataclass(slots=True)
class Regrouped:
    """What changed in a study."""

    #: Rows whose films, patient or conflicts changed.
    rows: set[int] = field(default_factory=set)
    #: SOP Instance UIDs of the study.
    sop_uids: set[str] = field(default_factory=set)


def regroup(session: Session, study_uid: str, aliases: Aliases, cause: Cause) -> Regrouped:
    """Write the rows of a study as the merges in force want them."""
    return _Regrouping(session, study_uid, aliases, cause).run()


class _Regrouping:
    def __init__(self, session: Session, study_uid: str, aliases: Aliases, cause: Cause) -> None:
        self._session, self._aliases, self._cause = session, aliases, cause
        everything = select(Study).where(Study.study_uid == study_uid).order_by(Study.side)
        found = session.scalars(everything.execution_options(populate_existing=True)).all()
        self._rows = {study.id: study for study in found}
        self._live = [study for study in found if study.merged_into_id is None]
        self._shown = {study.id for study in self._live}
        self._name_the_unknown()
        self._headers = headers_in(session, sorted(self._rows))
        self._versions = versions_in(session, aliases, [study.id for study in self._live])
        self._done = Regrouped(sop_uids={version.sop_uid for version in self._versions})

    def run(self) -> Regrouped:
        placement = place(self._facts(), self._versions, self._sent(), self._can_be_named)
        self._keep(placement)
        self._make_rows(placement)
        moved = self._move(placement)
        self._end_rows(placement, moved)
        self._settle_conflicts(placement, moved)
        self._write_columns(placement)
        self._session.flush()
        return self._done

    def _name_the_unknown(self) -> None:
        """Write the patient of images from before schema 0005: until now it was that of their row."""
        for study in self._live:
            unknown = and_(Image.patient_key == "", Image.pixel_sha256 == "", Image.has_pixel_data)
            patient = patient_of(study)
            named = {"patient_key": patient.key, "issuer_of_patient_id": patient.issuer}
            of_row = update(Image).where(Image.study_id == study.id, unknown)
            self._session.execute(of_row.values(named).execution_options(**_UNSYNCED))

    def _facts(self) -> list[RowFacts]:
        return [RowFacts(study.id, study.side, tuple(self._patients(study))) for study in self._live]

    def _patients(self, study: Study) -> list[Patient]:
        named = [named_by(header) for header in self._headers if header.study_id == study.id]
        return [self._aliases.of(patient) for patient in (*named, patient_of(study))]

    def _sent(self) -> dict[int, list[Transmission]]:
        sent: dict[int, list[Transmission]] = defaultdict(list)
        for some in chunks([version.image_id for version in self._versions]):
            rows = self._session.execute(
                select(Image.id, Image.sha256, Receipt.source, Receipt.first_at_ms, Receipt.last_at_ms)
                .join(Receipt, Receipt.image_id == Image.id)
                .where(Image.id.in_(some))
            ).all()
            for image_id, sha256, source, first_ms, last_ms in rows:
                sent[image_id].append(Transmission(sha256, source, first_ms, last_ms))
        return sent

    def _can_be_named(self, patient: Patient) -> bool:
        return self._text_of(patient) is not None

    def _text_of(self, patient: Patient) -> str | None:
        if not patient.key:
            return ""
        on_record = [header.patient_id for header in self._headers if header.patient_key == patient.key]
        on_record += [study.patient_id for study in self._live if patient_of(study).key == patient.key]
        return next(iter(on_record), None) or self._aliases.text_of(patient.key)

    def _keep(self, placement: Placement) -> None:
        """Keep the columns of rows that share a row from now on, or change their patient."""
        kept = {header.study_id for header in self._headers}
        for study in self._live:
            is_joined = list(placement.root.values()).count(placement.root[study.id]) > 1
            is_renamed = placement.home.get(study.id, patient_of(study)) != patient_of(study)
            if study.id not in kept and (is_joined or is_renamed):
                self._headers.append(keep_row(self._session, study))

    def _make_rows(self, placement: Placement) -> None:
        """Show the row again that a patient had before, else add one."""
        for number, patient in placement.new.items():
            films = [film for film in placement.films if film.target == number]
            if not films:
                continue
            study = self._row_before(patient) or self._added(patient, films)
            study.merged_into_id = None
            placement.home[study.id] = patient
            placement.root[study.id] = study.id
            self._live.append(study)
            for film in films:
                film.target = study.id
        self._session.flush()

    def _row_before(self, patient: Patient) -> Study | None:
        live = {study.id for study in self._live}
        of_patient = [
            header
            for header in self._headers
            if header.study_id not in live and self._aliases.of(named_by(header)).is_same(patient)
        ]
        return self._rows[of_patient[0].study_id] if of_patient else None

    def _added(self, patient: Patient, films: Sequence[Film]) -> Study:
        pattern = self._rows[films[0].winner.study_id]
        left_out = {"id", "side", "merged_into_id", "label", "probability", "threshold", "reason", "band", "model_id"}
        # What triggers keep begins again.
        left_out |= {"priority_rank", "change_id", "updated_at", "first_finished_at", "completed_at"}
        left_out |= {"read_at", "reader_label", "verdict"}
        columns = {name for name in Study.__table__.columns.keys() if name not in left_out}  # noqa: SIM118
        values = {name: getattr(pattern, name) for name in columns}
        values |= {"side": max(study.side for study in self._rows.values()) + 1, "state": StudyState.RECEIVING}
        values |= {"patient_id": self._text_of(patient) or "", "issuer_of_patient_id": patient.issuer}
        values |= {"flags": (), "n_images": 0, "n_scored": 0, "finished_at": None}
        study: Study = self._session.execute(insert(Study).values(values).returning(Study)).scalar_one()
        self._rows[study.id] = study
        for header in self._headers:
            is_elsewhere = self._rows[header.study_id].merged_into_id is None
            if is_elsewhere and self._aliases.of(named_by(header)).is_same(patient):
                header.study_id = study.id
        return study

    def _move(self, placement: Placement) -> list[Film]:
        """Move the films that belong elsewhere, and let the versions count that do."""
        lost = self._lost(placement)
        for film in placement.films:
            if film.was_beaten and (film.target, film.winner.sop_uid) in lost:
                film.counts = False
        moved = [film for film in placement.films if not _is_in_place(film)]
        self._change([item.image_id for film in moved for item in film.versions], is_current=False)
        for film in moved:
            self._change([item.image_id for item in film.versions], study_id=film.target)
        self._change([film.winner.image_id for film in moved if film.counts], is_current=True)
        for film in moved:
            before = {item.study_id for item in film.versions if item.is_current}
            self._done.rows |= before | {film.target}
            for study_id in sorted({placement.root[row] for row in before} - {film.target}):
                images = [item.image_id for item in film.versions]
                source = self._cause.source
                record_film_moved(self._session, self._rows[study_id], self._rows[film.target], images, source)
        self._record_absent(placement)
        return moved

    def _lost(self, placement: Placement) -> set[tuple[int, str]]:
        """Rows and films that a decision excluded before they shared a row with the film that was right."""
        ids = sorted(placement.home)
        ends = select(Conflict).where(
            Conflict.resolution.in_((ConflictEnd.HELD, ConflictEnd.CLAIM)),
            or_(Conflict.held_study_id.in_(ids), Conflict.claim_study_id.in_(ids)),
        )
        found: set[tuple[int, str]] = set()
        for conflict in self._session.scalars(ends):
            is_held = conflict.resolution is ConflictEnd.HELD
            losing = conflict.claim_study_id if is_held else conflict.held_study_id
            named = {conflict.sop_uid} if conflict.sop_uid else self._done.sop_uids
            found |= {(losing, uid) for uid in named}
        return found

    def _record_absent(self, placement: Placement) -> None:
        """Record, in a row that is shown again, which films of its patient are elsewhere by now: it may have shown them."""
        again = [study for study in self._live if study.id in placement.home and study.id not in self._shown]
        for study in again:
            keys = {header.patient_key for header in self._headers if header.study_id == study.id}
            for film in placement.films:
                images = [item.image_id for item in film.versions if item.patient.key in keys]
                if images and film.target != study.id:
                    record_film_moved(self._session, study, self._rows[film.target], images, self._cause.source)

    def _change(self, image_ids: Sequence[int], **values: Any) -> None:
        for some in chunks(list(image_ids)):
            changed = update(Image).where(Image.id.in_(some)).values(**values)
            self._session.execute(changed.execution_options(**_UNSYNCED))

    def _end_rows(self, placement: Placement, moved: Sequence[Film]) -> None:
        """Let rows whose films all went to another one be shown no more; the others begin a revision."""
        into = {study_id: root for study_id, root in placement.root.items() if root != study_id}
        for film in moved:
            for item in film.versions:
                if item.study_id in placement.home and item.study_id != film.target:
                    rest = select(Image.id).where(Image.study_id == item.study_id).limit(1)
                    if self._session.execute(rest).first() is None:
                        into[item.study_id] = film.target
        for gone_id, kept_id in into.items():
            gone, kept = self._rows[gone_id], self._rows[kept_id]
            gone.merged_into_id = kept_id
            kept.first_rx_at = min(kept.first_rx_at, gone.first_rx_at)
            kept.last_rx_at = max(kept.last_rx_at, gone.last_rx_at)
            kept.force_at_ms = max(kept.force_at_ms, gone.force_at_ms)
            kept.ready_at_ms = max(kept.ready_at_ms, gone.ready_at_ms)
            placement.home.pop(gone_id, None)
            self._done.rows |= {gone_id, kept_id}
        moment = self._session.execute(select(now_utc())).scalar_one()
        left = {version.study_id for film in moved for version in film.versions if version.is_current}
        for study_id in {film.target for film in moved} | set(into.values()) | (left & placement.home.keys()):
            self._rows[study_id].revision += 1
            self._rows[study_id].revision_at = moment
        self._live = [study for study in self._live if study.id not in into]
        for study in self._live:
            if study.id not in self._shown:
                self._date(study)
        self._session.flush()
        for gone_id, kept_id in into.items():
            cause = self._cause
            conflicts.move_conflicts(self._session, gone_id, kept_id, who=cause.who, why=cause.why, decided=False)

    def _date(self, study: Study) -> None:
        """Let the times of a row cover those of its objects, some of which came while another row had them."""
        received = select(func.min(Image.received_at), func.max(Image.received_at)).where(Image.study_id == study.id)
        first, last = self._session.execute(received).one()
        if first is not None:
            study.first_rx_at, study.last_rx_at = min(study.first_rx_at, first), max(study.last_rx_at, last)

    def _settle_conflicts(self, placement: Placement, moved: Sequence[Film]) -> None:
        """Conflicts follow their films; patients who share the study and are not one contradict each other again."""
        cause = self._cause
        for film in moved:
            uid = film.winner.sop_uid
            for before in sorted({item.study_id for item in film.versions} & placement.home.keys() - {film.target}):
                conflicts.move_conflicts(
                    self._session, before, film.target, who=cause.who, why=cause.why, sop_uid=uid, decided=False
                )
        counting = select(Image.study_id).where(Image.study_id.in_(sorted(placement.home)), Image.is_current)
        ids = sorted(set(self._session.scalars(counting)))
        for number, one in enumerate(ids):
            for other in ids[number + 1 :]:
                if {one, other} & self._done.rows and not self._is_known(one, other):
                    held, claim = conflicts.by_age(self._session, (one, other))
                    conflicts.open_conflict(self._session, ConflictKind.PATIENT, held, claim)
                    self._done.rows |= {one, other}
        for study_id in sorted(self._done.rows & placement.home.keys()):
            self._done.rows |= conflicts.review(self._session, study_id, "")
        for film in moved:
            self._done.rows |= conflicts.review(self._session, film.target, film.winner.sop_uid)

    def _is_known(self, one: int, other: int) -> bool:
        """Whether these patients' conflict is open, was withdrawn by its source or decided otherwise than as one patient."""
        pair = (one, other)
        said = or_(
            Conflict.closed_at.is_(None),
            Conflict.resolution.in_(_DECIDED),
            Conflict.resolution == ConflictEnd.WITHDRAWN,
        )
        between = and_(Conflict.held_study_id.in_(pair), Conflict.claim_study_id.in_(pair), Conflict.sop_uid == "")
        return bool(self._session.execute(select(exists().where(between, said))).scalar())

    def _write_columns(self, placement: Placement) -> None:
        """Let the columns of each row follow the newest of its patient's films; forget what no merge needs."""
        for study_id, patient in placement.home.items():
            study = self._rows[study_id]
            before = patient_of(study)
            own = [header for header in self._headers if self._aliases.of(named_by(header)).is_same(patient)]
            if own:
                # As where objects come one by one: a blank value overwrites nothing.
                own.sort(key=lambda header: (header.columns_at_ms, header.id), reverse=True)
                for name in STUDY_COLUMNS:
                    values = [getattr(header, name) for header in own]
                    setattr(study, name, next(filter(None, values), values[0]))
                study.columns_at_ms = own[0].columns_at_ms
            if (own or patient != before) and patient.key:
                study.patient_id = self._text_of(patient) or study.patient_id
                study.issuer_of_patient_id = patient.issuer
            if patient_of(study) != before:
                self._done.rows.add(study_id)
        for header in self._headers:
            if not self._aliases.concerns(named_by(header)):
                forget(self._session, header)


def _is_in_place(film: Film) -> bool:
    """Whether all versions are in the row where they belong, and the one that counts is the one that should."""
    rows = {version.study_id for version in film.versions}
    counting = {version.image_id for version in film.versions if version.is_current}
    return rows == {film.target} and counting == ({film.winner.image_id} if film.counts else set())
