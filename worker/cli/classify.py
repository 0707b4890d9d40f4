"""The verb ``classify``."""

from __future__ import annotations

from functools import partial

import typer

from model.notice import NOTICE
from worker.cli.common.explain import Explain, HowExplained, write_explained
from worker.cli.common.options import FAILURES, EngineName, ModelName, Paths
from worker.cli.common.output import AsCsv, AsJson, complain, console, opened_once, print_answer, print_table
from worker.cli.common.wording import explain_codes, warn_suspended
from worker.errors import UsageError

FILE_COLUMNS = {
    "path": "File",
    "outcome": "Outcome",
    "label": "Label",
    "probability": "Probability",
    "reason": "Reason",
    "flags": "Flags",
}


def classify(
    paths: Paths,
    model: ModelName = None,
    engine: EngineName = None,
    explain: Explain = None,
    method: HowExplained = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Judge DICOM, JPEG and PNG files without a database; nothing is stored.

    Below a folder, files that are neither DICOM nor pictures are skipped and counted, as by `auscult ingest`. With
    --explain the command writes a picture of the evidence.
    """
    from worker.batches.classify import classify as answers_for
    from worker.batches.sources import Kind, Skipped, gather
    from worker.models.lifecycle import UNKNOWN, standings
    from worker.progress import progress

    settings = opened_once(engine=engine)
    skipped = Skipped()
    files = [found.path for found in gather(paths, skipped, {Kind.DICOM, Kind.PICTURE})]
    if explain and len(files) != 1:
        msg = f"--explain explains one file, and here are {len(files)}"
        raise UsageError(msg)
    rows = []
    with progress("judging", len(files)) as advance:
        for number, answer in enumerate(answers_for(settings, files, model), start=1):
            rows.append(answer.as_dict())
            advance(number)

    def show() -> None:
        print_table(rows, FILE_COLUMNS)
        explain_codes(code for row in rows for code in (row["reason"], *row["flags"]))
        console().print(NOTICE)

    print_answer(rows, rows, show, as_json=as_json, as_csv=as_csv)
    known = standings(settings)
    for label in sorted({f"{row['model']}-{row['version']}" for row in rows}):
        warn_suspended(label, known.get(label, UNKNOWN)["suspended"])
    for sentence in skipped.sentences():
        complain(sentence)
    if explain and rows[0]["outcome"] not in FAILURES:
        from worker.batches.explain import explain_file

        write_explained(partial(explain_file, settings, files[0]), explain, model, method)
    if any(row["outcome"] in FAILURES for row in rows):
        raise typer.Exit(1)
