"""The verb ``show``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import typer

from worker.cli.common.audited import audit_picture, audit_shown
from worker.cli.common.explain import Explain, HowExplained, write_explained
from worker.cli.common.output import AsCsv, AsJson, console, opened_once, print_answer, print_facts, print_table
from worker.cli.common.wording import CONFLICT_COLUMNS, WITHDRAWAL_COLUMNS, answer_of, explain_codes
from worker.database import open_database
from worker.db.read import queries
from worker.db.read.naming import none_matches

RESULT_COLUMNS = {
    "result_id": "Result",
    "created_at": "Created",
    "model": "Model",
    "answer": "Answer",
    "batch_id": "Batch",
    "is_current": "Current",
    "is_withdrawn": "Withdrawn",
}
CORRECTION_COLUMNS = {
    "at": "At",
    "source": "Source",
    "column_name": "Column",
    "old_value": "Before",
    "new_value": "After",
    "sop_uid": "SOP Instance UID",
}
_LISTED = ("results", "corrections", "conflicts", "withdrawals")


def show(
    study: Annotated[str, typer.Argument(help="Study Instance UID, accession number or Patient ID.")],
    explain: Explain = None,
    image: Annotated[
        str | None, typer.Option(help="SOP Instance UID to explain; default: the film that decides the answer.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Bundle that explains, as name-version; default: the one that judged the film.")
    ] = None,
    method: HowExplained = None,
    side: Annotated[
        int | None, typer.Option(help="Which patient's film --explain takes, where a study has several.", min=0)
    ] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Show one study: its answer and every result it ever had; --explain writes a picture of the evidence."""
    settings = opened_once()
    database = open_database(settings)
    with database.reads() as session:
        found = queries.study_detail(session, study)
    if not found:
        raise none_matches(study)
    results = [{"study_uid": detail["study_uid"], **result} for detail in found for result in detail["results"]]
    audit_shown(database, "show", found, as_json=as_json, as_csv=as_csv)
    print_answer(found, results, partial(show_studies, found), as_json=as_json, as_csv=as_csv)
    if explain:
        from worker.batches.explain import Explained, ExplainRequest, explain_stored

        def explained(request: ExplainRequest) -> Explained:
            made = explain_stored(settings, database, study, image, request)
            audit_picture(database, made.study_uid, made.sop_uid)
            return made

        write_explained(explained, explain, model, method, side)


def show_studies(found: list[dict[str, Any]]) -> None:
    """Print each study and its films: every value of the result that counts, and a table of all results."""
    for detail in found:
        print_facts((name, value) for name, value in detail.items() if name not in _LISTED)
        explain_codes([detail["reason"], *detail["flags"]])
        for sop_uid in dict.fromkeys(result["sop_uid"] for result in detail["results"]):
            results = [result for result in detail["results"] if result["sop_uid"] == sop_uid]
            console().print()
            for counting in filter(_counts, results):
                facts = {name: value for name, value in counting.items() if name != "is_withdrawn"}
                print_facts((name, value) for name, value in facts.items() if value is not None)
            rows = [
                {
                    **result,
                    "is_current": _counts(result),
                    "is_withdrawn": "yes" if result["is_withdrawn"] else None,
                    "answer": answer_of(result),
                }
                for result in results
            ]
            print_table(rows, RESULT_COLUMNS, title=f"results of {sop_uid}, newest first")
        if detail["corrections"]:
            print_table(detail["corrections"], CORRECTION_COLUMNS, title="corrections, newest first")
        if detail["conflicts"]:
            print_table(detail["conflicts"], CONFLICT_COLUMNS, title="conflicts, newest first")
        if detail["withdrawals"]:
            print_table(detail["withdrawals"], WITHDRAWAL_COLUMNS, title="rejection notes, newest first")


def _counts(result: Mapping[str, Any]) -> bool:
    """Whether a result counts: the current one of its version of the film, which counts and is not withdrawn."""
    return bool(result["is_current"] and result["image_is_current"] and not result["is_withdrawn"])
