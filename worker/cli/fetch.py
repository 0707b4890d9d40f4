"""The verb ``fetch``."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from threading import Event
from typing import Annotated, Any, Literal

import typer

from worker.cli.common.options import DAY, PeerName, Texts, upper
from worker.cli.common.output import AsCsv, AsJson, complain, opened_for_peers, print_answer, print_facts, print_table
from worker.database import open_database

FETCHED_COLUMNS = {
    "study_uid": "Study Instance UID",
    "accession_number": "Accession",
    "fate": "Fate",
    "images": "Images",
    "note": "Note",
}
FOUND_COLUMNS = {
    "study_uid": "Study Instance UID",
    "accession_number": "Accession",
    "study_date": "Study date",
    "images": "Images here",
}
FETCHED_KEYS = ("study_uid", "accession_number", "study_date", "fate", "held", "expected", "note", "images")


def fetch(
    peer: PeerName,
    accession: Annotated[Texts, typer.Option(help="Accession number; may be repeated.")] = None,
    patient_id: Annotated[Texts, typer.Option(help="Patient ID; may be repeated.")] = None,
    study_uid: Annotated[Texts, typer.Option(help="Study Instance UID; may be repeated.")] = None,
    date_from: Annotated[date | None, typer.Option("--from", help="Study date from.", **DAY)] = None,
    date_to: Annotated[
        date | None, typer.Option("--to", help="Study date to, inclusive; default: today.", **DAY)
    ] = None,
    modality: Annotated[Texts, typer.Option(help="Only studies with this modality; may be repeated.")] = None,
    listed: Annotated[
        Path | None, typer.Option("--list", help="CSV with a column study_uid, accession_number or patient_id.")
    ] = None,
    method: Annotated[Literal["move", "get"], typer.Option(help="C-MOVE or C-GET.")] = "move",
    destination: Annotated[
        str | None, typer.Option(help="AE title that the PACS moves to; default: our own (AUSCULT_AE_TITLE).")
    ] = None,
    per_minute: Annotated[float | None, typer.Option(help="At most this many studies a minute.", min=0.01)] = None,
    max_queue: Annotated[int, typer.Option(help="Pause while this many images wait to be judged.", min=1)] = 500,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be fetched.")] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Fetch past studies from a PACS; the same command again continues where it ended."""
    from worker.fetching.fetch import Fetch
    from worker.fetching.questions import Wanted, questions, read_list
    from worker.fetching.study import FetchPlan
    from worker.peers import find_peer

    settings = opened_for_peers()
    plan = FetchPlan(find_peer(settings, peer), method, destination or settings.ae_title, per_minute, max_queue)
    wanted = Wanted(
        study_uids=tuple(study_uid or ()),
        accession_numbers=tuple(accession or ()),
        patient_ids=tuple(patient_id or ()),
        date_from=date_from,
        date_to=date_to,
        modalities=upper(modality),
    )
    rows, bad = read_list(listed) if listed else ([], [])
    for line in bad:
        complain(f"{listed} line {line.line}: {line.problem}")
    asked = questions(wanted, rows)
    with _ended_by_ctrl_c() as stop:
        run = Fetch(settings, open_database(settings), plan, stop)
        listing = run.ask(asked)
        if dry_run:
            found = [{**run.compare(study).as_dict(), "modalities": study.modalities} for study in listing.studies]
            _print_found(found, listing, as_json=as_json, as_csv=as_csv)
            raise typer.Exit(1 if bad or listing.not_found or listing.cut_off else 0)
        report = run.fetch(listing)
    _print_fetched([line.as_dict() for line in report.lines], listing, as_json=as_json, as_csv=as_csv)
    if report.problem:
        complain(report.problem)
    elif stop.is_set():
        complain("stopped; the same command again continues where this one ended")
    elif any(line.fate.has_come for line in report.lines) and not run.live_workers():
        complain("no worker is running to judge the fetched images: start `auscult up` or `auscult work`")
    if report.problem or bad or listing.not_found or listing.cut_off or not _all_done(report.lines):
        raise typer.Exit(1)


def _all_done(lines: Sequence[Any]) -> bool:
    return all(line.fate.is_done for line in lines)


def _print_found(found: Sequence[dict[str, Any]], listing: Any, *, as_json: bool, as_csv: bool) -> None:
    def show() -> None:
        print_table(found, FOUND_COLUMNS)
        _say_missing(listing)
        complain(f"{len(found)} studies, {sum(not study['fate'].is_done for study in found)} of them to fetch")

    document = {"dry_run": True, "studies": found, **_missing(listing)}
    print_answer(document, found, show, FETCHED_KEYS, as_json=as_json, as_csv=as_csv)


def _print_fetched(lines: Sequence[dict[str, Any]], listing: Any, *, as_json: bool, as_csv: bool) -> None:
    counts = Counter(line["fate"].value for line in lines)
    counts["NOT_FOUND"] = len(listing.not_found)

    def show() -> None:
        if unfinished := [line for line in lines if not line["fate"].is_done]:
            print_table(unfinished, FETCHED_COLUMNS)
        print_facts((name, n) for name, n in sorted(counts.items()) if n)
        _say_missing(listing)

    document = {"counts": {name: n for name, n in counts.items() if n}, "studies": lines, **_missing(listing)}
    print_answer(document, lines, show, FETCHED_KEYS, as_json=as_json, as_csv=as_csv)


def _missing(listing: Any) -> dict[str, Any]:
    return {"not_found": list(listing.not_found), "cut_off": list(listing.cut_off)}


def _say_missing(listing: Any) -> None:
    for name in listing.not_found:
        complain(f"not found: {name}")
    for name in listing.cut_off:
        complain(f"the PACS returned only a part of {name}: ask for less at once")


@contextmanager
def _ended_by_ctrl_c() -> Iterator[Event]:
    """Set the event at the first Ctrl-C, so that the study in progress is finished; the second cancels that too."""
    stop = Event()

    def ask_to_end(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stop.set()
        complain("ending after this study; Ctrl-C again cancels it")

    before = signal.signal(signal.SIGINT, ask_to_end)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
