"""The page about the studies of a period: what was answered and what was not, how fast, and what changed."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from dicom_io.reasons import sentence_of
from model.reports.svg import tag
from worker.db.schema.states import StudyState
from worker.reports.charts import histogram, share_bar
from worker.reports.page import page, section, table, uid
from worker.reports.words import NOTHING, device, duration, moment, share

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from worker.db.schema.views import Row

BINS = 20
PERCENTILES = (50, 90, 95, 99)
#: Studies whose answer flipped that are named; further ones are counted.
MOST_FLIPS = 100
#: Devices with a row of their own, those with the most studies; the others share one.
MOST_DEVICES = 40
_MEANINGS = {
    StudyState.FINAL: "complete and answered",
    StudyState.PROVISIONAL: "open, with a first result",
    StudyState.QUEUED: "complete, waits for the model",
    StudyState.RECEIVING: "objects are still coming",
    StudyState.WITHHELD: "judged below the threshold, but a doubt forbids to call it negative",
    StudyState.NOT_APPLICABLE: "nothing in it may be judged",
    StudyState.FAILED: "should have been judged and was not: read it without the model",
}


@dataclass(slots=True)
class DeviceCount:
    """The studies of one device."""

    studies: int = 0
    answered: int = 0
    positive: int = 0
    unanswered: int = 0
    turnarounds: list[int] = field(default_factory=list)


@dataclass(slots=True)
class PeriodCount:
    """The studies of a period, counted; `named` holds the rows of the flipped studies that a page names."""

    studies: int = 0
    states: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    bins: list[list[int]] = field(default_factory=lambda: [[0, 0] for _ in range(BINS)])
    thresholds: Counter[float] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    turnarounds: list[int] = field(default_factory=list)
    flips: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    named: list[Row] = field(default_factory=list)
    devices: dict[str, DeviceCount] = field(default_factory=lambda: defaultdict(DeviceCount))


def counted(rows: Iterable[Row]) -> PeriodCount:
    """Count the studies of a period in one pass; rows of `report.studies_between`."""
    count = PeriodCount()
    for row in rows:
        count.studies += 1
        count.states[row["ai_status"]] += 1
        of_device = count.devices[device(row) or "not said"]
        of_device.studies += 1
        if row["turnaround_s"] is not None:
            count.turnarounds.append(row["turnaround_s"])
            of_device.turnarounds.append(row["turnaround_s"])
        if row["reason"]:
            count.reasons[row["ai_status"], row["reason"]] += 1
        if row["label"]:
            _count_answer(count, of_device, row)
        elif row["ai_status"] in (StudyState.FAILED, StudyState.WITHHELD, StudyState.NOT_APPLICABLE):
            of_device.unanswered += 1
    return count


def _count_answer(count: PeriodCount, of_device: DeviceCount, row: Row) -> None:
    is_positive = row["label"] == "PNEUMONIA"
    count.labels[row["label"]] += 1
    count.bins[min(int(row["probability"] * BINS), BINS - 1)][is_positive] += 1
    count.thresholds[row["threshold"]] += 1
    model = f"{row['model_name']}-{row['model_version']}"
    count.models[model] += 1
    of_device.answered += 1
    of_device.positive += is_positive
    if row["previous_label"] and row["previous_label"] != row["label"]:
        count.flips[row["previous_label"], row["label"], model] += 1
        if len(count.named) < MOST_FLIPS:
            count.named.append(row)


@dataclass(frozen=True, slots=True)
class Period:
    """The studies that came in [since, until), counted.

    Attributes
    ----------
    refusals : sequence of mapping
        Source, reason and number, of `report.refusals_between`.
    verdicts : sequence of mapping
        Of the period, by model, of `report.verdicts_between`.
    agreement : sequence of mapping
        Of all time, of `assessments.agreement`.
    """

    since: datetime
    until: datetime
    count: PeriodCount
    refusals: Sequence[Row]
    verdicts: Sequence[Row]
    agreement: Sequence[Row]


def period_page(period: Period, made_at: datetime) -> str:
    """Write the page about a period."""
    count, name = period.count, f"{moment(period.since)} to {moment(period.until)}"
    top = tag(
        "section",
        tag("h1", f"{count.studies} {'study' if count.studies == 1 else 'studies'}"),
        tag("p", f"First received from {name}.", class_="lead"),
    )
    return page(
        f"Studies from {name}",
        "report of a period",
        made_at,
        top,
        _tiles(count),
        _states(count),
        _scores(count),
        _flips(count),
        _agreement(period),
        _turnaround(count),
        _refusals(period),
        _devices(count),
    )


def _tiles(count: PeriodCount) -> Markup:
    answered = sum(count.labels.values())
    unanswered = sum(count.states[state] for state in (StudyState.FAILED, StudyState.WITHHELD))
    tiles = [
        (str(answered), "answered", share(answered, count.studies)),
        (str(count.labels["PNEUMONIA"]), "PNEUMONIA", f"{share(count.labels['PNEUMONIA'], answered)} of the answers"),
        (str(unanswered), "failed or withheld", "to be read without the model"),
        (
            duration(_percentile(count.turnarounds, 50)) or NOTHING,
            "median turnaround",
            "from the first object to the first end",
        ),
    ]
    return tag(
        "div",
        *(
            tag("div", tag("b", value), tag("span", name), tag("span", more, class_="soft"), class_="tile")
            for value, name, more in tiles
        ),
        class_="tiles",
    )


def _states(count: PeriodCount) -> Markup:
    rows = [
        (state.value, meaning, str(count.states[state]), _share(count.states[state], count.studies))
        for state, meaning in _MEANINGS.items()
    ]
    return section("States", table("Studies by state", ("State", "Meaning", "Studies", "Share"), rows, words=2))


def _share(part: int, whole: int) -> Markup:
    return tag("span", share_bar(part / whole if whole else 0.0), tag("span", share(part, whole)), class_="both")


def _scores(count: PeriodCount) -> Markup:
    if not count.labels:
        return section("Scores", tag("p", "No study of the period has an answer with a score."))
    key = tag(
        "figcaption",
        tag("span", "", class_="key normal"),
        "NORMAL ",
        tag("span", "", class_="key pneumonia"),
        f"PNEUMONIA, {BINS} equal bins, one score for each study. Models: ",
        ", ".join(f"{model} ({n})" for model, n in count.models.most_common()),
    )
    thresholds = [threshold for threshold, _ in count.thresholds.most_common(3)]
    drawn = histogram([(normal, ill) for normal, ill in count.bins], thresholds)
    rows = [
        (f"{number / BINS:.2f} to {(number + 1) / BINS:.2f}", str(normal), str(ill))
        for number, (normal, ill) in enumerate(count.bins)
        if normal or ill
    ]
    numbers = tag(
        "details",
        tag("summary", "The same in numbers"),
        table("Studies by score", ("Score", "NORMAL", "PNEUMONIA"), rows),
    )
    return section("Scores", tag("figure", drawn, key, class_="chart"), numbers)


def _flips(count: PeriodCount) -> Markup:
    if not count.flips:
        return section("Flips between models", tag("p", "No answer differs from that of the model before it."))
    rows = [(f"{before} to {after}", model, str(n)) for (before, after, model), n in count.flips.most_common()]
    named = [
        (
            row["accession_number"] or NOTHING,
            uid(row["study_uid"]),
            row["previous_label"],
            f"{row['label']} {row['probability']:.3f}",
        )
        for row in count.named
    ]
    parts = [
        table(
            "Answers that differ from those of the model before", ("From, to", "Model now", "Studies"), rows, words=2
        ),
        table("Studies", ("Accession number", "Study Instance UID", "Before", "Now"), named, words=4),
    ]
    if (more := sum(count.flips.values()) - len(named)) > 0:
        parts.append(tag("p", f"{more} more studies have flipped and are not named."))
    return section("Flips between models", *parts)


def _agreement(period: Period) -> Markup:
    whole = {_model(row): row for row in period.agreement if row["by_what"] == "MODEL"}
    given = {_model(row): row for row in period.verdicts}
    if not whole:
        return section("Agreement with the reader", tag("p", "No reader has given a verdict yet."))
    rows = []
    for model, row in whole.items():
        now: Mapping[str, Any] = given.get(model, {})
        denied = (now.get("n_pneumonia_denied", 0), now.get("n_normal_denied", 0))
        rows.append(
            (
                model,
                f"{now.get('n_agree', 0)} of {now.get('n', 0)}",
                *map(str, denied),
                f"{row['n_agree']} of {row['n']}",
                f"{100 * row['share_low']:.1f} to {100 * row['share_high']:.1f} %",
            )
        )
    head = (
        "Model",
        "Agreed, period",
        "PNEUMONIA denied",
        "NORMAL denied",
        "Agreed, all time",
        "95 % interval, all time",
    )
    words = "Verdicts count by their own day, not by that of the study."
    return section(
        "Agreement with the reader", table("Verdicts of readers by model", head, rows), tag("p", words, class_="soft")
    )


def _model(row: Row) -> str:
    return f"{row['model_name']}-{row['model_version']}"


def _turnaround(count: PeriodCount) -> Markup:
    if not count.turnarounds:
        return section("Turnaround", tag("p", "No study of the period was answered yet."))
    rows = [(f"{part} %", duration(_percentile(count.turnarounds, part))) for part in PERCENTILES]
    rows.append(("all", duration(max(count.turnarounds))))
    caption = (
        f"Within how long so many of {len(count.turnarounds)} studies were first answered or ended without an answer"
    )
    return section("Turnaround", table(caption, ("Studies", "Within"), rows, is_narrow=True))


def _percentile(seconds: Sequence[int], part: int) -> float | None:
    """The least of the values that so many percent do not exceed."""
    return float(np.percentile(seconds, part, method="inverted_cdf")) if seconds else None


def _refusals(period: Period) -> Markup:
    studies = [
        (reason, state, sentence_of(reason), str(n)) for (state, reason), n in period.count.reasons.most_common()
    ]
    objects = [
        (row["reason"], "listener" if row["source"] == "door" else "gate", sentence_of(row["reason"]), str(row["n"]))
        for row in period.refusals
    ]
    parts = []
    if studies:
        head = ("Reason", "State", "In plain words", "Studies")
        parts.append(table("Studies without an answer, by reason", head, studies, words=3))
    if objects:
        head = ("Reason", "Refused by", "In plain words", "Refusals")
        parts.append(table("Objects and associations refused in the period, by reason", head, objects, words=3))
    return section("Refusals and failures, by reason", *(parts or [tag("p", "None.")]))


def _devices(count: PeriodCount) -> Markup:
    if not count.devices:
        return Markup()
    ordered = sorted(count.devices.items(), key=lambda item: (-item[1].studies, item[0]))
    rows = [
        (
            name,
            str(found.studies),
            str(found.answered),
            share(found.positive, found.answered),
            str(found.unanswered),
            duration(_percentile(found.turnarounds, 50)) or NOTHING,
        )
        for name, found in ordered[:MOST_DEVICES]
    ]
    head = ("Device", "Studies", "Answered", "PNEUMONIA", "Without an answer", "Median turnaround")
    parts = [table("Manufacturer, model and station of the first film", head, rows)]
    if len(ordered) > MOST_DEVICES:
        parts.append(tag("p", f"{len(ordered) - MOST_DEVICES} more devices are not shown."))
    return section("Devices", *parts)
