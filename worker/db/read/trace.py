"""Everything that SQL holds about how results came about, for `auscult trace`; what no column holds is None."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from worker.db.answers.results import LOOK, in_doubt
from worker.db.identity.withdrawals import is_withdrawn
from worker.db.models.bundles import label_of
from worker.db.read.naming import is_meant
from worker.db.schema.site import WorkerProcess
from worker.db.schema.sql import chunks
from worker.db.schema.study import Batch, Image, Model, Receipt, Result, Study, Task
from worker.db.tasks.claims import ImageFacts, image_facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from worker.db.schema.views import Row


@dataclass(frozen=True, slots=True)
class TracedResult:
    """A result with the rows behind it; `sections` are the parts of the document that SQL fills, ready for JSON."""

    result_id: int
    study_uid: str
    side: int
    image: ImageFacts
    #: SHA-256 of the object's data set as it was received.
    object_sha256: str
    is_original_purged: bool
    is_film_purged: bool
    #: Of the film that was judged; None where none was made.
    film_sha256: str | None
    film_version: int | None
    #: `name-version` of the model, and what its bundle must hold.
    model: str
    weights_sha256: str
    #: None where it is not known.
    litert_sha256: str | None
    digest: str
    engine: str | None
    reason: str | None
    flags: tuple[str, ...]
    logit: float | None
    probability: float | None
    label: str | None
    band: str | None
    unlikeness: float | None
    sections: dict[str, Any]

    @property
    def was_scored(self) -> bool:
        """Whether the network has seen the film, even if only to find it outside its scope."""
        return self.logit is not None or self.unlikeness is not None


def traced_results(
    session: Session, key: str, side: int | None = None, *, every: bool = False
) -> tuple[list[Row], list[TracedResult]]:
    """The studies of a key (`study_uid`, `side`), and their results, the oldest first.

    The key is a Study Instance UID, an accession number or a Patient ID; one that was merged stands for the other one.
    By default the results that count: the current ones of the versions that count. `every`: all there ever were.
    """
    named = select(Study).where(is_meant(session, Study, key), Study.merged_into_id.is_(None))
    if side is not None:
        named = named.where(Study.side == side)
    studies = list(session.scalars(named.order_by(Study.first_rx_at, Study.side)))
    found = (
        select(Result, Image, Study, Model, Task, Batch, WorkerProcess, is_withdrawn(), in_doubt())
        .join(Image, Image.id == Result.image_id)
        .join(Study, Study.id == Image.study_id)
        .join(Model, Model.id == Result.model_id)
        .join(Task, Task.id == Result.task_id)
        .outerjoin(Batch, Batch.id == Result.batch_id)
        .outerjoin(WorkerProcess, WorkerProcess.id == Result.worker_process_id)
        .where(Study.id.in_([study.id for study in studies]))
        .order_by(Study.first_rx_at, Study.side, Result.id)
    )
    if not every:
        found = found.where(Result.is_current, Image.is_current)
    rows = session.execute(found).all()
    receipts = _receipts(session, [image.id for _, image, *_ in rows])
    successors = _successors(session, [result.id for result, *_ in rows])
    counting = _counting_versions(session, [study.id for study in studies])
    results = []
    for result, image, study, model, task, batch, process, withdrawn, doubted in rows:
        newer = None if image.is_current else counting.get((study.id, image.sop_uid))
        sections = {
            "result": _result(result) | {"is_withdrawn": bool(withdrawn), "is_in_doubt": bool(doubted)},
            "study": _study(study),
            "object": _object(image) | {"receipts": receipts[image.id]},
            "model": _model(model),
            "decoder": result.decoder,
            "look": _look(result),
            "work": _work(task, batch, process),
            "times": _times(result, image, task),
            "software": _software(process),
            "superseded_by": successors.get(result.id),
            "object_superseded_by": newer,
        }
        results.append(_traced(result, image, study, model, sections))
    return [{"study_uid": study.study_uid, "side": study.side} for study in studies], results


def _traced(result: Result, image: Image, study: Study, model: Model, sections: dict[str, Any]) -> TracedResult:
    return TracedResult(
        result_id=result.id,
        study_uid=study.study_uid,
        side=study.side,
        image=image_facts(image, study.study_uid),
        object_sha256=image.sha256,
        is_original_purged=image.original_purged_at is not None,
        is_film_purged=image.film_purged_at is not None,
        film_sha256=result.film_sha256,
        film_version=result.film_version,
        model=label_of(model),
        weights_sha256=model.weights_sha256,
        litert_sha256=model.litert_sha256,
        digest=model.digest,
        engine=result.engine,
        reason=result.reason_code,
        flags=result.flags,
        logit=result.logit,
        probability=result.probability,
        label=result.label,
        band=result.band,
        unlikeness=result.unlikeness,
        sections=sections,
    )


def _result(result: Result) -> Row:
    names = ("outcome", "reason_code", "label", "probability", "logit", "threshold", "band", "unlikeness", "engine")
    return {
        "result_id": result.id,
        **{name: getattr(result, name) for name in names},
        "flags": list(result.flags),
        "decode_ms": result.decode_ms,
        "inference_ms": result.inference_ms,
        "is_current": result.is_current,
        "supersedes_result_id": result.supersedes_id,
        "compared_with_result_id": result.compared_id,
        "taken_from_result_id": result.taken_from_id,
    }


def _look(result: Result) -> dict[str, float] | None:
    """What the film looks like (`model.input_statistics`); None where it was not measured."""
    found = {name: getattr(result, name) for name in LOOK}
    return None if None in found.values() else found


def _study(study: Study) -> Row:
    return {
        "study_uid": study.study_uid,
        "side": study.side,
        "revision": study.revision,
        "state": study.state,
        "label": study.label,
        "requested_priority": study.requested_priority,
    }


def _object(image: Image) -> Row:
    names = ("sop_uid", "series_uid", "sop_class_uid", "transfer_syntax_uid", "sha256")
    return {
        **{name: getattr(image, name) for name in names},
        "pixel_sha256": image.pixel_sha256 or None,
        "film_header_sha256": image.film_header_sha256 or None,
        "patient_id_sha256": image.patient_key or None,
        "revision": image.revision,
        "is_current": image.is_current,
        "times_received": image.rx_count,
        "calling_aet": image.calling_aet,
        "peer": image.peer,
        "original_purged_at": image.original_purged_at,
        "film_purged_at": image.film_purged_at,
        "kept_film": {"sha256": image.film_sha256, "version": image.film_version},
        "gate_facts": asdict(image_facts(image, "").facts),
    }


def _model(model: Model) -> Row:
    names = ("name", "version", "weights_sha256", "litert_sha256", "digest", "preprocess_version", "threshold")
    return {
        **{name: getattr(model, name) for name in names},
        "age_years": [model.min_age_years, model.max_age_years],
        "state": model.state,
    }


def _work(task: Task, batch: Batch | None, process: WorkerProcess | None) -> Row:
    return {
        "task_id": task.id,
        "state": task.state,
        "study_revision": task.revision,
        "attempts": task.attempts,
        "interruptions": task.interruptions,
        "last_error_class": task.error_class,
        "last_error_code": task.error_code,
        "worker": process.name if process else None,
        "host": process.host if process else None,
        "pid": process.pid if process else None,
        "batch": None
        if batch is None
        else {
            "batch_id": batch.id,
            "kind": batch.kind,
            "ordered_by": batch.who,
            "ordered_at": batch.created_at,
            "keep_current": batch.keep_current,
        },
    }


def _software(process: WorkerProcess | None) -> Row:
    """The versions that judged, None where they are not on record."""
    return {
        "auscult": process.auscult if process else None,
        "python": process.python if process else None,
        "libraries": json.loads(process.libraries) if process else None,
    }


def _times(result: Result, image: Image, task: Task) -> Row:
    return {
        "received_at": image.received_at,
        "task_made_at": task.created_at,
        "claimed_at": _moment(task.claimed_at_ms) if task.claimed_at_ms is not None else None,
        "judged_at": result.created_at,
        "task_finished_at": task.finished_at,
    }


def _receipts(session: Session, image_ids: Sequence[int]) -> dict[int, list[Row]]:
    """Who sent each image, and when; the source is empty for ingest."""
    found: dict[int, list[Row]] = defaultdict(list)
    for some in chunks(sorted(set(image_ids))):
        for one in session.scalars(select(Receipt).where(Receipt.image_id.in_(some)).order_by(Receipt.id)):
            times = {"first_at": _moment(one.first_at_ms), "last_at": _moment(one.last_at_ms)}
            found[one.image_id].append({"source": one.source, **times})
    return found


def _successors(session: Session, result_ids: Sequence[int]) -> dict[int, Row]:
    """The result that took the place of each, where one did."""
    found: dict[int, Row] = {}
    for some in chunks(result_ids):
        rows = select(Result, Model).join(Model, Model.id == Result.model_id).where(Result.supersedes_id.in_(some))
        for result, model in session.execute(rows.order_by(Result.id)):
            if result.supersedes_id is not None:
                said = {"result_id": result.id, "model": label_of(model), "batch_id": result.batch_id}
                found.setdefault(result.supersedes_id, {**said, "at": result.created_at})
    return found


def _counting_versions(session: Session, study_ids: Sequence[int]) -> dict[tuple[int, str], Row]:
    """The version of each object that counts in these studies, by study and SOP Instance UID."""
    rows = session.scalars(select(Image).where(Image.study_id.in_(study_ids), Image.is_current))
    return {
        (image.study_id, image.sop_uid): {"sha256": image.sha256, "received_at": image.received_at} for image in rows
    }


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
