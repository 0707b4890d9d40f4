"""Words and tables that several verbs print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dicom_io.reasons import sentence_of
from model.notice import NOTICE
from worker.cli.common.output import complain, console, print_table
from worker.database import Database
from worker.settings import Settings

CONFLICT_COLUMNS = {
    "conflict_id": "#",
    "held_patient_id": "Held",
    "held_ai_status": "Status",
    "claim_patient_id": "Claim",
    "claim_ai_status": "Status",
    "resolution": "Ended",
}
WITHDRAWAL_COLUMNS = {
    "note_id": "Note",
    "title": "Title",
    "state": "State",
    "reason": "Reason",
    "study_uid": "Study",
    "sop_uid": "Film",
    "ai_status": "Status",
    "label": "Label",
    "source": "Source",
    "received_at": "Received",
}
CORRECTION_COLUMNS = {
    "at": "When",
    "kind": "Kind",
    "study_uid": "Study",
    "column_name": "Column",
    "old_value": "Before",
    "new_value": "After",
    "source": "Source",
    "who": "Who",
}
#: What the results of a batch are to the worklist, by its column keep_current.
ADDED, CURRENT = "only added", "current"
FLIP_COLUMNS = {"study_uid": "Study Instance UID", "before": "Before", "after": "After"}
#: The keys of a flip in JSON and CSV.
FLIP_KEYS = (
    "study_uid",
    "sop_uid",
    "old_label",
    "old_probability",
    "old_model",
    "new_label",
    "new_probability",
    "new_model",
)


def answer_of(row: Mapping[str, Any]) -> str:
    """Return label and probability of a row of the worklist or of a result, or the reason why it has no label."""
    if row["label"]:
        return f"{row['label']} {row['probability']:.3f}"
    return str(row["reason"] or row.get("outcome") or "-")


def explain_codes(codes: Iterable[str | None]) -> None:
    """Say on stderr what each of these reason codes and flags means and what to do, once each."""
    for code in dict.fromkeys(filter(None, codes)):
        complain(f"{code}: {sentence_of(code)}")


def results_of_batch(keep_current: bool) -> str:
    """Return what the results of a batch are to the worklist."""
    return ADDED if keep_current else CURRENT


def show_flips(flips: Sequence[dict[str, Any]]) -> None:
    """Print the images whose label a batch changed, and how many changed which way."""
    if flips:
        rows = [{**flip, "before": _side(flip, "old"), "after": _side(flip, "new")} for flip in flips]
        print_table(rows, FLIP_COLUMNS, title="flipped")
    kinds = Counter(f"{flip['old_label']} -> {flip['new_label']}" for flip in flips)
    words = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    console().print(f"{len(flips)} images flipped{': ' + words if words else ''}. {NOTICE}", markup=False)


def _side(flip: dict[str, Any], which: str) -> str:
    label, probability = flip[f"{which}_label"], flip[f"{which}_probability"]
    return f"{label} {probability:.3f}" if label else "no label"


def warn_suspended(label: str, suspended: dict[str, Any] | None) -> None:
    """Say on stderr that a model is suspended, by whom and why; print nothing where it is not."""
    if suspended:
        since = f"{suspended['since']:%Y-%m-%d %H:%M:%S}Z"
        complain(
            f"{label} is suspended by {suspended['who']} ({suspended['why']}): NORMAL is withheld, its answers since {since} "
            "are in doubt; 'auscult model resume' ends it"
        )


def warn_of_workers(settings: Settings, database: Database, bundle: str) -> None:
    """Say on stderr which workers have not reported that they can open a bundle."""
    from worker.models import lifecycle

    for worker in lifecycle.check_workers(settings, database, bundle):
        complain(
            f"warning: the worker {worker} has not reported that it can open {bundle}: unless it has just ended, let it "
            f"share the folder {settings.models} (AUSCULT_STORE_DIR), or its films will fail"
        )
