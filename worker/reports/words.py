"""What states, findings, scores and times are called on a page, in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

from dicom_io.results.result import as_written
from worker.db.schema.states import StudyState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Headline:
    """The first thing that a page says of a study; `tone` is a class of the style sheet."""

    tone: str
    words: str
    sentence: str


_FINDINGS = {
    "DETECTED": ("detected", "Pneumonia detected"),
    "NOT_DETECTED": ("undetected", "Pneumonia not detected"),
    "INDETERMINATE": ("unsure", "Pneumonia: indeterminate"),
}
_UNANSWERED = {
    StudyState.RECEIVING: Headline("open", "No answer yet", "Objects of this study are still coming in."),
    StudyState.QUEUED: Headline("open", "No answer yet", "The study is complete and waits for the model."),
    StudyState.PROVISIONAL: Headline("open", "No answer yet", "A first result exists, and more are expected."),
    StudyState.WITHHELD: Headline(
        "unsure",
        "No answer: withheld",
        "No film of the study reached the threshold, but a doubt forbids to call it negative. Read the study without the model.",
    ),
    StudyState.NOT_APPLICABLE: Headline(
        "open",
        "No answer: not applicable",
        "Nothing in this study may be judged by the model. This says nothing about the patient.",
    ),
    StudyState.FAILED: Headline(
        "failed",
        "No answer: failed",
        "A film that should have been judged was not. Never read this as negative: read the study without the model.",
    ),
}
#: Said beside an answer that is negative: its class is called NORMAL, which reads like a finding.
NO_READING = (
    "NORMAL is the name of the model's class. It is no reading of the film, and other findings are not looked for."
)


def headline(row: Mapping[str, Any]) -> Headline:
    """What a row of the worklist says; without an answer, why not."""
    state = StudyState(row["ai_status"])
    if row["finding_status"] not in _FINDINGS:
        return _UNANSWERED.get(state, _UNANSWERED[StudyState.PROVISIONAL])
    tone, words = _FINDINGS[row["finding_status"]]
    model = f"{row['model_name']}-{row['model_version']}"
    sentence = (
        f"Said by the model {model}: score {score(row['probability'])} of 1, PNEUMONIA from {row['threshold']:.3f} on."
    )
    if row["finding_status"] == "INDETERMINATE":
        sentence += f" The score lies in the middle band, where the label {row['label']} is not to be relied on."
    if state is StudyState.PROVISIONAL:
        sentence += " Provisional: films may still come or are still being judged."
    return Headline(tone, words, sentence)


def score(probability: float) -> str:
    """A score as every result writes it."""
    return as_written(probability)


def answer(row: Mapping[str, Any]) -> str:
    """Label and score of a result, or why it has none."""
    if row["label"]:
        return f"{row['label']} {score(row['probability'])}"
    return str(row["reason"] or row.get("outcome") or NOTHING)


def moment(value: datetime | None) -> str:
    """A moment in UTC, to the second."""
    return "" if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def duration(seconds: float | None) -> str:
    """Seconds in the two largest units that they fill."""
    if seconds is None:
        return ""
    whole = round(seconds)
    for size, name, small, below in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {name} {rest} {below}" if rest else f"{whole // size} {name}"
    return f"{whole} s"


def device(row: Mapping[str, Any]) -> str:
    """Manufacturer, model and station, as far as the header says."""
    parts = (row["manufacturer"], row["device_model"], row["station_name"])
    return ", ".join(part for part in parts if part)


def share(part: int, whole: int) -> str:
    """A share in percent, or a dash of nothing."""
    return f"{100 * part / whole:.1f} %" if whole else NOTHING
