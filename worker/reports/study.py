"""The page about one study: its answer first, then films, reasons, readers, history, and what made the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from dicom_io.reasons import sentence_of
from model.errors import BundleError
from model.reports.svg import tag, void
from worker.db.schema.states import StudyState
from worker.models.active import bundle_of
from worker.reports.charts import bands_in_words, score_scale
from worker.reports.page import facts, page, paragraphs, section, table, uid
from worker.reports.pictures import Map, film_uri, map_of
from worker.reports.words import (
    NO_READING,
    NOTHING,
    answer,
    device,
    duration,
    headline,
    moment,
    score,
)
from worker.results.contours import COLOURS, WIDTHS_PX
from worker.results.finding import SILENCING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from worker.database import Database
    from worker.db.read.report import ReportFilm
    from worker.db.schema.views import Row
    from worker.settings import Settings

#: Films with a picture in a page; further ones are named only.
MOST_PICTURES = 6
#: Rows of the history; further ones are counted.
MOST_ROWS = 200


@dataclass(frozen=True, slots=True)
class StudyData:
    """What is known of a study.

    Attributes
    ----------
    row : mapping
        Of the worklist, with `results`, `corrections`, `conflicts` and `withdrawals` as `queries.study_detail` gives them.
    films : sequence of ReportFilm
        Those that count, the film that decides first.
    verdicts : sequence of mapping
        Of the view `assessments`, the newest first.
    """

    row: Row
    films: Sequence[ReportFilm]
    verdicts: Sequence[Row]


def study_page(
    settings: Settings, database: Database, data: StudyData, made_at: datetime, *, with_map: bool = True
) -> str:
    """Write the page about a study; `with_map`: whether evidence is drawn on the film that decides."""
    row = data.row
    numbers = {film.sop_uid: number for number, film in enumerate(data.films, 1)}
    return page(
        f"Study {row['study_uid']}",
        "report of a study",
        made_at,
        _answer(settings, data),
        _facts(row, data.films),
        _films(settings, database, data, with_map=with_map),
        _reasons(row),
        _readers(data.verdicts),
        _history(row, numbers),
        _changes(row, numbers),
        _origin(row, data.films),
    )


def _answer(settings: Settings, data: StudyData) -> Markup:
    row, said = data.row, headline(data.row)
    state = tag("p", tag("span", row["ai_status"], class_="pill"), _since(row), class_="state")
    parts = [state, tag("h1", said.words), tag("p", said.sentence, class_="lead")]
    if row["finding_status"] and (doubts := sorted(SILENCING.intersection(row["flags"]))):
        parts.append(tag("p", tag("b", "This answer is in doubt: "), " ".join(map(sentence_of, doubts))))
    if row["label"] == "NORMAL":
        parts.append(tag("p", NO_READING))
    if row["probability"] is not None:
        bands = _bands(settings, data)
        words = bands_in_words(bands) if bands else "The model has no bands, or they are not at hand any more."
        caption = tag("figcaption", "The score is no certainty. ", words)
        parts.append(tag("figure", score_scale(row["probability"], row["threshold"], bands), caption, class_="scale"))
    return tag("section", *parts, class_=f"answer {said.tone}")


def _since(row: Mapping[str, Any]) -> str:
    return f"since {moment(row['completed_at'])}" if row["completed_at"] else "open"


def _bands(settings: Settings, data: StudyData) -> tuple[float, float] | None:
    """Where the bands of the model lie that answered; None where the bundle is gone or is another one by now."""
    deciding = _deciding(data)
    if deciding is None or deciding.model is None:
        return None
    try:
        bundle = bundle_of(settings, deciding.model)
    except BundleError:
        return None
    if bundle.digest != deciding.model_digest or bundle.bands is None:
        return None
    return bundle.bands.low, bundle.bands.high


def _deciding(data: StudyData) -> ReportFilm | None:
    """The film whose score is the study's answer."""
    row = data.row
    if row["label"] is None:
        return None
    said = (row["label"], row["probability"], f"{row['model_name']}-{row['model_version']}")
    return next((film for film in data.films if (film.label, film.probability, film.model) == said), None)


def _facts(row: Mapping[str, Any], films: Sequence[ReportFilm]) -> Markup:
    return tag(
        "div",
        facts(
            [
                ("Patient ID", row["patient_id"]),
                ("Accession number", row["accession_number"]),
                ("Study date", str(row["study_date"] or "")),
                ("Device", device(row)),
                ("Institution", row["institution"]),
                ("Sent by", row["calling_aet"]),
                ("Films that count", str(len(films))),
                ("Requested priority", row["requested_priority"]),
                ("First object came", moment(row["received_at"])),
                ("First finished", moment(row["first_finished_at"])),
                ("Turnaround", duration(row["turnaround_s"])),
                ("Reader", _reader(row)),
            ]
        ),
        class_="facts",
    )


def _reader(row: Mapping[str, Any]) -> str:
    if row["read_at"] is None:
        return "not read yet"
    words = {"AGREE": "agrees with the answer", "DISAGREE": "disagrees with the answer"}.get(row["verdict"] or "")
    label = f", says {row['reader_label']}" if row["reader_label"] else ""
    return f"{words or 'has read it'}{label}"


def _films(settings: Settings, database: Database, data: StudyData, *, with_map: bool) -> Markup:
    if not data.films:
        return section("Films", tag("p", "No object of this study counts."))
    deciding, figures = _deciding(data), []
    for number, film in enumerate(data.films[:MOST_PICTURES], 1):
        figures.append(_film_figure(settings, film, number, is_deciding=film is deciding))
        if with_map and film is deciding:
            figures.append(
                _map_figure(map_of(settings, database, (data.row["study_uid"], data.row["side"]), film), number)
            )
    more = len(data.films) - MOST_PICTURES
    rest = [tag("p", f"{more} more films count and are not shown here: the history names them.")] if more > 0 else []
    return section("Films", tag("div", *figures, class_="sheet"), *rest)


def _film_figure(settings: Settings, film: ReportFilm, number: int, *, is_deciding: bool) -> Markup:
    uri = film_uri(settings, film)
    words = answer(
        {"label": film.label, "probability": film.probability, "reason": film.reason, "outcome": film.outcome}
    )
    what = f"{words}, decides the answer" if is_deciding else words
    if film.outcome is None:
        what = "waits to be judged"
    if film.is_withdrawn:
        what = f"withdrawn, does not count; {what}"
    view = f", view {film.view_position}" if film.view_position else ""
    caption = tag(
        "figcaption",
        tag("b", f"Film {number}: {what}"),
        f"{film.columns} x {film.rows} pixels{view}. ",
        uid(film.sop_uid),
    )
    if uri is None:
        return tag("figure", tag("div", tag("p", _why_no_picture(film)), class_="gone"), caption)
    picture = void("img", src=uri, alt=f"Film {number} of the study, as the model saw it: {what}")
    return tag("figure", tag("div", picture, class_="film"), caption)


def _why_no_picture(film: ReportFilm) -> str:
    if film.is_film_purged:
        return "No picture: the site's rules of retention have removed it."
    if film.film_key is None:
        return f"No picture was made. {sentence_of(film.reason)}" if film.reason else "No picture was made yet."
    return "No picture: the file of the film is missing or cannot be read."


def _map_figure(made: Map | str, number: int) -> Markup:
    if isinstance(made, str):
        return tag("figure", tag("div", tag("p", made), class_="gone"))
    lines = "contour lines of evidence" if made.levels else "no line"
    picture = void("img", src=made.uri, alt=f"Film {number} with {lines}, by {made.method}")
    legend = Markup()
    if made.levels:
        strokes = [
            tag("span", _stroke(colour, width), words)
            for colour, width, words in zip(COLOURS, WIDTHS_PX, made.levels, strict=False)
        ]
        legend = tag("div", *strokes, class_="legend")
    words = f"{made.sentence}{':' if made.levels else ''}"
    caption = tag(
        "figcaption",
        tag("b", f"Where the model looks, on film {number}"),
        f"Map by {made.method}. The lines do not outline a finding. {words}",
        legend,
    )
    return tag("figure", tag("div", picture, class_="film"), caption)


def _stroke(colour: tuple[int, int, int], width: float) -> Markup:
    red, green, blue = colour
    line = tag("path", d="M0 5H34", fill="none", stroke=f"rgb({red},{green},{blue})", stroke_width=width)
    return tag("svg", line, viewBox="0 0 34 10", aria_hidden="true")


def _reasons(row: Mapping[str, Any]) -> Markup:
    state = StudyState(row["ai_status"])
    tone = {"FAILED": "failed", "WITHHELD": "unsure"}.get(state.value, "open")
    parts = []
    if row["reason"]:
        parts.append(_said(f"Why there is no answer: {row['reason']}", row["reason"], tone))
    parts += [_said(f"Judged in spite of: {flag}", flag, "unsure") for flag in row["flags"]]
    if row["n_failed"]:
        words = f"Films that should have been judged and were not: {row['n_failed']}."
        parts.append(tag("div", tag("p", tag("b", words)), class_="said failed"))
    if row["completeness"] == "SHORT":
        words = f"The source announced {row['n_expected']} objects, and fewer came."
        parts.append(tag("div", tag("p", tag("b", words)), class_="said unsure"))
    return section("Reasons and flags", *(parts or [tag("p", "None.")]))


def _said(title: str, code: str, tone: str) -> Markup:
    return tag("div", tag("p", tag("b", title)), tag("p", sentence_of(code)), class_=f"said {tone}")


def _readers(verdicts: Sequence[Row]) -> Markup:
    if not verdicts:
        return section("What readers say", tag("p", "Nobody has recorded a reading of this study."))
    rows = [
        (
            moment(row["at"]),
            row["reader"],
            row["verdict"] or "read, no verdict",
            row["label"] or NOTHING,
            "yes" if row["blinded"] else "no",
            _about(row),
        )
        for row in verdicts[:MOST_ROWS]
    ]
    head = ("When", "Reader", "Verdict", "Reader's label", "Without sight of the answer", "About")
    return section("What readers say", table("Readings, newest first", head, rows, words=6))


def _about(row: Row) -> str:
    if not row["answer_label"]:
        return str(row["answer_state"])
    return f"{row['answer_label']} {score(row['probability'])} by {row['model_name']}-{row['model_version']}"


def _history(row: Mapping[str, Any], numbers: Mapping[str, int]) -> Markup:
    results = row["results"]
    if not results:
        return section("History", tag("p", "No result has been written yet."))
    rows = [
        (
            moment(result["created_at"]),
            _film_name(result, numbers),
            result["model"],
            answer(result),
            ", ".join(result["flags"]) or NOTHING,
            f"batch {result['batch_id']}" if result["batch_id"] else "live",
            _standing(result),
        )
        for result in results[:MOST_ROWS]
    ]
    head = ("When", "Film", "Model", "Answer", "In spite of", "Work", "Counts")
    parts = [table("Every result of the study, newest first", head, rows, words=7)]
    if len(results) > MOST_ROWS:
        parts.append(tag("p", f"{len(results) - MOST_ROWS} older results are not shown."))
    return section("History", *parts)


def _film_name(result: Mapping[str, Any], numbers: Mapping[str, int]) -> str:
    number = numbers.get(result["sop_uid"])
    name = f"film {number}" if number else uid(result["sop_uid"])
    return name if result["image_is_current"] else name + ", earlier version"


def _standing(result: Mapping[str, Any]) -> str:
    if result["is_withdrawn"]:
        return "no, withdrawn"
    return "yes" if result["is_current"] and result["image_is_current"] else "no"


def _changes(row: Mapping[str, Any], numbers: Mapping[str, int]) -> Markup:
    """What happened to the study beside its results; values of corrections are left out, as they may be names."""
    corrections = [
        f"{moment(one['at'])}: {one['column_name']} was corrected by {one['source']}"
        + (f", film {numbers[one['sop_uid']]}" if one["sop_uid"] in numbers else "")
        for one in row["corrections"]
    ]
    conflicts = [
        f"Conflict {one['conflict_id']} about the patient or the study: {one['resolution'] or 'open'}"
        for one in row["conflicts"]
    ]
    withdrawals = [f"{moment(one['received_at'])}: rejection note, {one['state']}" for one in row["withdrawals"]]
    lines = [*conflicts, *withdrawals, *corrections][:MOST_ROWS]
    return section("Corrections, conflicts, withdrawals", paragraphs(lines)) if lines else Markup()


def _origin(row: Mapping[str, Any], films: Sequence[ReportFilm]) -> Markup:
    judged = next((film for film in films if film.model), None)
    model = f"{row['model_name']}-{row['model_version']}" if row["model_name"] else judged.model if judged else None
    of_model = next((film for film in films if film.model == model), None)
    return section(
        "What made the answer",
        facts(
            [
                ("Study Instance UID", row["study_uid"]),
                ("Patient of this UID", str(row["side"]) if row["side"] else None),
                ("Revision", str(row["revision"])),
                ("Model", model or "no model has answered"),
                ("SHA-256 of the model", of_model.model_digest if of_model else None),
                ("Engine", of_model.engine if of_model else None),
                ("Answer last changed", moment(row["finished_at"])),
                ("Row last changed", moment(row["updated_at"])),
            ]
        ),
    )
