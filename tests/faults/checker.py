"""The one checker: what was acknowledged against what SQL and the store say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.faults.films import Film, Study
    from tests.faults.stack import Stack

TERMINAL = ("FINAL", "NOT_APPLICABLE", "FAILED")
_ROWS = "SELECT study_uid, side, ai_status, label, probability, reason, flags FROM worklist WHERE study_uid IN :uids"
_IMAGES = (
    "SELECT study.study_uid, image.id, image.sop_uid, image.sha256, image.is_current, image.store_key, "
    "(SELECT count(*) FROM task WHERE task.image_id = image.id AND task.batch_id IS NULL) AS live_tasks, "
    "(SELECT count(*) FROM task WHERE task.image_id = image.id AND task.state IN ('PENDING', 'CLAIMED')) AS open_tasks "
    "FROM image JOIN study ON study.id = image.study_id WHERE study.study_uid IN :uids"
)
_RESULTS = (
    "SELECT result.image_id, result.outcome, result.reason_code, result.probability FROM result "
    "JOIN image ON image.id = result.image_id JOIN study ON study.id = image.study_id "
    "WHERE result.is_current AND study.study_uid IN :uids"
)


@dataclass
class Verdict:
    """Sentences by kind of finding, each with its study; all empty when the promises hold."""

    lost: dict[str, str] = field(default_factory=dict)
    doubled: dict[str, str] = field(default_factory=dict)
    stuck: dict[str, str] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        return {name: len(found) for name, found in vars(self).items()}

    @property
    def is_clean(self) -> bool:
        return not any(vars(self).values())

    def sentences(self) -> list[str]:
        return [f"{name}: {uid}: {said}" for name, found in vars(self).items() for uid, said in sorted(found.items())]


@dataclass
class Records:
    """What SQL holds of one study."""

    rows: list[Mapping[str, Any]] = field(default_factory=list)
    images: list[Mapping[str, Any]] = field(default_factory=list)
    results: dict[int, list[Mapping[str, Any]]] = field(default_factory=dict)


def read(stack: Stack, studies: Sequence[Study]) -> dict[str, Records]:
    """Everything that SQL holds of these studies, in one transaction."""
    uids = {"uids": [study.uid for study in studies] or [""]}
    found = {study.uid: Records() for study in studies}
    owners: dict[int, str] = {}
    with stack.engine.connect() as connection:
        if not stack.is_sqlite:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        answers = [
            [dict(row) for row in connection.execute(_of(sql), uids).mappings()] for sql in (_ROWS, _IMAGES, _RESULTS)
        ]
    for row in answers[0]:
        found[row["study_uid"]].rows.append(row)
    for image in answers[1]:
        owners[image["id"]] = image["study_uid"]
        found[image["study_uid"]].images.append(image)
    for result in answers[2]:
        found[owners[result["image_id"]]].results.setdefault(result["image_id"], []).append(result)
    return found


def _of(sql: str) -> Any:
    return text(sql).bindparams(bindparam("uids", expanding=True))


def is_finished(study: Study, records: Records) -> bool:
    """Whether everything acknowledged is registered, judged and answered."""
    held = {(image["sop_uid"], image["sha256"]) for image in records.images}
    return (
        all((each.sop_uid, each.sha256) in held for each in study.acked)
        and all(row["ai_status"] in TERMINAL for row in records.rows)
        and not any(image["open_tasks"] for image in records.images)
    )


def compare(stack: Stack, studies: Sequence[Study], *, may_fail: int = 0) -> Verdict:
    """Compare what was acknowledged with what SQL and the store hold; `may_fail`: how many films may end FAILED."""
    records = read(stack, studies)
    verdict = Verdict()
    failed = sum(judge(study, records[study.uid], stack.store, verdict) for study in studies)
    if failed > may_fail:
        verdict.wrong["films"] = f"{failed} films ended FAILED, where {may_fail} may"
    return verdict


def judge(study: Study, records: Records, store: Path, verdict: Verdict) -> int:
    """Compare one study with its records, into the verdict; returns how many of its films ended FAILED."""
    if not study.acked and not records.rows:
        return 0
    _check_lost(store, study, records, verdict)
    _check_doubled(study.uid, records, verdict)
    if not is_finished(study, records):
        verdict.stuck[study.uid] = f"{[(row['ai_status'], row['reason']) for row in records.rows]}"
        return 0
    return _check_answer(study.uid, study, records, verdict)


def _check_lost(store: Path, study: Study, records: Records, verdict: Verdict) -> None:
    held = {(image["sop_uid"], image["sha256"]): image["store_key"] for image in records.images}
    missing = [each for each in study.acked if (each.sop_uid, each.sha256) not in held]
    if study.acked and not records.rows:
        verdict.lost[study.uid] = "no row in the worklist"
    elif missing:
        verdict.lost[study.uid] = f"{len(missing)} of {len(study.acked)} acknowledged objects have no row"
    gone = [key for key in held.values() if not (store / key[:2] / key[2:4] / f"{key}.dcm").is_file()]
    if gone:
        verdict.lost[study.uid] = f"{len(gone)} originals are not in the store"


def _check_doubled(uid: str, records: Records, verdict: Verdict) -> None:
    current = [image["sop_uid"] for image in records.images if image["is_current"]]
    if len(records.rows) > 1:
        verdict.doubled[uid] = f"{len(records.rows)} rows in the worklist"
    elif len(current) != len(set(current)):
        verdict.doubled[uid] = "an object counts twice"
    elif any(image["live_tasks"] > 1 for image in records.images):
        verdict.doubled[uid] = "a film has two live tasks"
    elif any(len(results) > 1 for results in records.results.values()):
        verdict.doubled[uid] = "a film has two current results"


def _check_answer(uid: str, study: Study, records: Records, verdict: Verdict) -> int:
    """Compare each film's result and the study's answer with what they must be; returns how many films FAILED."""
    films = {(each.sop_uid, each.sha256): each.film for each in study.objects}
    counting: list[tuple[Film, Mapping[str, Any] | None]] = []
    for image in records.images:
        if image["is_current"]:
            results = records.results.get(image["id"], [])
            counting.append((films[image["sop_uid"], image["sha256"]], results[0] if results else None))
    is_failed = [result is None or result["outcome"] in ("FAILED", "BAD_INPUT") for _, result in counting]
    for (film, result), is_bad in zip(counting, is_failed, strict=True):
        if not is_bad and (said := _differs(film, result or {})):
            verdict.wrong[uid] = said
    label = records.rows[0]["label"] if records.rows else None
    judged_positive = any(film.is_positive and not bad for (film, _), bad in zip(counting, is_failed, strict=True))
    judged_normal = any(film.label == "NORMAL" for film, _ in counting)
    wanted = "PNEUMONIA" if judged_positive else "NORMAL" if judged_normal and not any(is_failed) else None
    if label == "NORMAL" and wanted != "NORMAL":
        verdict.silent[uid] = f"NORMAL, where the films say {wanted}"
    elif label != wanted:
        verdict.wrong[uid] = f"{label}, where the films say {wanted}"
    return sum(is_failed)


def _differs(film: Film, result: Mapping[str, Any]) -> str:
    if result["outcome"] != film.outcome or result["reason_code"] != film.reason:
        return f"{film.name}: {result['outcome']} {result['reason_code']}, where it is {film.outcome} {film.reason}"
    if film.probability is not None and abs(result["probability"] - film.probability) > 1e-6:
        return f"{film.name}: probability {result['probability']}, where it is {film.probability}"
    return ""
