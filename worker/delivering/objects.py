"""The DICOM objects of a delivery: report and heat map of the answer, and a note that rejects what was sent before.

The same row makes the same objects whenever and by whom it is sent: what was sent before is part of it, so the earlier
report that a new one names, and those that a note rejects, do not depend on the moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicom_io.header.rejection import Reference, RejectionTitle
from dicom_io.results.rejection_note import WithdrawnResult, rejection_note
from dicom_io.results.result import Predecessor, ResultModel
from worker.db.delivery.outcome import ObjectKind, SentObject
from worker.db.models.bundles import model_by_id
from worker.db.schema.states import DeliveryAction
from worker.results.make import OriginalMissing, ResultRequest, result_objects, source_in_store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydicom.dataset import Dataset

    from dicom_io.results.source_header import SourceHeader
    from worker.database import Database
    from worker.db.delivery.outcome import ClaimedDelivery, Earlier
    from worker.settings import Settings


@dataclass(frozen=True, slots=True, eq=False)
class MadeObjects:
    """Objects in the order in which they are sent, and what they were made of: model and film, of a REPORT."""

    datasets: tuple[Dataset, ...]
    objects: tuple[SentObject, ...]
    made_of: tuple[int, str] | None = None


def objects_of(settings: Settings, database: Database, claimed: ClaimedDelivery) -> MadeObjects:
    """Make the objects of a delivery.

    A report names the last one that was sent before as its predecessor, and a note behind it rejects what stood until then,
    since a predecessor hides nothing. Where no answer holds any more there is the note alone.

    Raises
    ------
    UsageError
        `NothingToReport`, `OriginalMissing` and others of `result_objects`.
    """
    standing = [one for one in claimed.earlier if one.is_standing and any(map(_is_told, one.objects))]
    if claimed.action is DeliveryAction.WITHDRAW:
        if not standing:
            return MadeObjects((), ())
        note = _note(settings, database, claimed, standing, RejectionTitle.PATIENT_SAFETY)
        return MadeObjects((note,), (_sent(ObjectKind.REJECTION_NOTE, note),))
    request = ResultRequest(
        claimed.study_uid, claimed.side, with_heat_map=claimed.target.heat_map, replaces=_predecessor(claimed.earlier)
    )
    made = result_objects(settings, database, request)
    datasets = made.datasets
    objects = [_sent(ObjectKind.REPORT if ds is made.report else ObjectKind.HEAT_MAP, ds) for ds in datasets]
    if standing:
        note = _note(settings, database, claimed, standing, RejectionTitle.QUALITY)
        datasets.append(note)
        objects.append(_sent(ObjectKind.REJECTION_NOTE, note))
    return MadeObjects(tuple(datasets), tuple(objects), (made.model_id, made.film_key))


def _is_told(one: SentObject) -> bool:
    return one.kind is not ObjectKind.REJECTION_NOTE


def _predecessor(earlier: Iterable[Earlier]) -> Predecessor | None:
    """The last report that was sent, whether it was rejected since or not: the new one is another object than it."""
    reports = [one for each in earlier for one in each.objects if one.kind is ObjectKind.REPORT]
    if not reports:
        return None
    last = max(reports, key=lambda one: one.instance_number)
    return Predecessor(last.sop_class_uid, last.sop_uid, last.series_uid, last.instance_number)


def _note(
    settings: Settings,
    database: Database,
    claimed: ClaimedDelivery,
    standing: list[Earlier],
    title: RejectionTitle,
) -> Dataset:
    withdrawn = WithdrawnResult(
        side=claimed.side,
        model=_model(database, standing),
        withdrawn_at=claimed.created_at,
        objects=tuple(
            Reference(one.sop_uid, claimed.study_uid, one.series_uid, one.sop_class_uid)
            for each in standing
            for one in each.objects
            if _is_told(one)
        ),
    )
    return rejection_note(withdrawn, _source(settings, standing), title)


def _model(database: Database, standing: list[Earlier]) -> ResultModel:
    model_id = next(one.model_id for one in reversed(standing) if one.model_id is not None)
    with database.reads() as session:
        model = model_by_id(session, model_id)
    return ResultModel(model.name, model.version, model.weights_sha256, model.digest)


def _source(settings: Settings, standing: list[Earlier]) -> SourceHeader:
    """The header of the film that decided, or of another one that did before, where its original is gone."""
    keys = dict.fromkeys(one.film_key for one in reversed(standing) if one.film_key)
    for number, key in enumerate(keys, 1):
        try:
            return source_in_store(settings, key, "that decided")
        except OriginalMissing:
            if number == len(keys):
                raise
    msg = "no film is on record whose header a rejection note could repeat"
    raise OriginalMissing(msg)


def _sent(kind: ObjectKind, ds: Dataset) -> SentObject:
    return SentObject(
        kind, str(ds.SOPClassUID), str(ds.SOPInstanceUID), str(ds.SeriesInstanceUID), int(ds.InstanceNumber)
    )
