"""The DICOM objects of a delivery: report and heat map of the answer, and a note that rejects what was sent before.

The same row makes the same objects whenever and by whom it is sent: what was sent before is part of it, so the earlier
report that a new one names, and those that a note rejects, do not depend on the moment.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dicom_io.header.rejection import Reference, RejectionTitle
from dicom_io.results.rejection_note import WithdrawnResult, rejection_note
from dicom_io.results.result import Predecessor, ResultModel
from worker.db.delivery.outcome import ObjectKind, SentObject
from worker.db.models.bundles import model_by_id
from worker.db.read.answers import study_row
from worker.db.schema.states import DeliveryAction
from worker.logs import error_class
from worker.results.make import (
    NoHeatMap,
    OriginalMissing,
    ResultRequest,
    result_objects,
    source_in_store,
    source_of_row,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydicom.dataset import Dataset

    from dicom_io.results.source_header import SourceHeader
    from worker.database import Database
    from worker.db.delivery.outcome import ClaimedDelivery, Earlier
    from worker.results.make import ResultObjects
    from worker.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class MadeObjects:
    """Objects in the order in which they are sent, and what they were made of: model and film, of a REPORT.

    `is_report_missing`: there should be a report, and none can be made as the original of its film is gone; the note rejects
    what stood until then.
    """

    datasets: tuple[Dataset, ...]
    objects: tuple[SentObject, ...]
    made_of: tuple[int, str] | None = None
    is_report_missing: bool = False


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
        return _withdrawal(settings, database, claimed, standing) if standing else MadeObjects((), ())
    try:
        made = _answer_objects(settings, database, claimed)
    except OriginalMissing:
        if not standing:
            raise
        return replace(_withdrawal(settings, database, claimed, standing), is_report_missing=True)
    datasets = made.datasets
    objects = [_sent(ObjectKind.REPORT if ds is made.report else ObjectKind.HEAT_MAP, ds) for ds in datasets]
    if standing:
        note = _note(settings, database, claimed, standing, RejectionTitle.QUALITY)
        datasets.append(note)
        objects.append(_sent(ObjectKind.REJECTION_NOTE, note))
    return MadeObjects(tuple(datasets), tuple(objects), (made.model_id, made.film_key))


def _withdrawal(
    settings: Settings, database: Database, claimed: ClaimedDelivery, standing: list[Earlier]
) -> MadeObjects:
    """The note by which nothing stands any more."""
    note = _note(settings, database, claimed, standing, RejectionTitle.PATIENT_SAFETY)
    return MadeObjects((note,), (_sent(ObjectKind.REJECTION_NOTE, note),))


def _answer_objects(settings: Settings, database: Database, claimed: ClaimedDelivery) -> ResultObjects:
    """Report and heat map; the report alone where no heat map can be made.

    A report that refers to a heat map is another object than one that does not, and a destination is to have one of the two.
    So what an earlier attempt of the delivery has told of decides for those that follow.
    """
    begun = {one.kind for one in claimed.objects}
    is_without = ObjectKind.REPORT in begun and ObjectKind.HEAT_MAP not in begun
    request = ResultRequest(
        claimed.study_uid,
        claimed.side,
        with_heat_map=claimed.target.heat_map and not is_without,
        replaces=_predecessor(claimed.earlier),
    )
    try:
        return result_objects(settings, database, request)
    except NoHeatMap as error:
        if ObjectKind.HEAT_MAP in begun:
            raise
        facts = {"delivery": claimed.delivery_id, "destination": claimed.target.name, "cause": error_class(error)}
        logger.warning("a report goes without its heat map", extra={"action": "deliver_no_heat_map", **facts})
    return result_objects(settings, database, replace(request, with_heat_map=False))


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
    return rejection_note(withdrawn, _source(settings, database, claimed, standing), title)


def _model(database: Database, standing: list[Earlier]) -> ResultModel:
    model_id = next(one.model_id for one in reversed(standing) if one.model_id is not None)
    with database.reads() as session:
        model = model_by_id(session, model_id)
    return ResultModel(model.name, model.version, model.weights_sha256, model.digest)


def _source(settings: Settings, database: Database, claimed: ClaimedDelivery, standing: list[Earlier]) -> SourceHeader:
    """The header of the film that decided, or of another one that did before; of the study's row where all are gone.

    What a hospital has purged must not keep it from withdrawing what was said of it.
    """
    for key in dict.fromkeys(one.film_key for one in reversed(standing) if one.film_key):
        with suppress(OriginalMissing):
            return source_in_store(settings, key, "that decided")
    with database.reads() as session:
        return source_of_row(study_row(session, claimed.study_id))


def _sent(kind: ObjectKind, ds: Dataset) -> SentObject:
    return SentObject(
        kind, str(ds.SOPClassUID), str(ds.SOPInstanceUID), str(ds.SeriesInstanceUID), int(ds.InstanceNumber)
    )
