"""``auscult model shadow``."""

from __future__ import annotations

from typing import Annotated

import typer

from model.notice import NOTICE
from worker.cli.common.options import Who, Why, order
from worker.cli.common.output import AsCsv, AsJson, complain, console, opened_once, print_answer, print_facts
from worker.cli.common.wording import warn_of_workers
from worker.database import Database, open_database
from worker.errors import UsageError
from worker.settings import Settings


def shadow(
    bundle: Annotated[
        str | None, typer.Argument(help="Bundle, as name-version; default: the current or last shadow.")
    ] = None,
    who: Who = None,
    why: Why = "",
    off: Annotated[bool, typer.Option("--off", help="End the shadow; its results are kept.")] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Compare its answers with those of the active model; changes nothing.")
    ] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Score every new image with a second bundle too; the worklist shows only the active model's answers."""
    from worker.db.tasks.shadow import known_shadow
    from worker.models import lifecycle

    settings = opened_once()
    database = open_database(settings)
    if bundle is None:
        with database.reads() as session:
            bundle = known_shadow(session)
    if bundle is None:
        msg = "there is and was no shadow: start one with 'auscult model shadow NAME-VERSION'"
        raise UsageError(msg)
    if report:
        _report(settings, database, bundle, as_json=as_json, as_csv=as_csv)
        return
    if not off:
        warn_of_workers(settings, database, bundle)
    change = lifecycle.end_shadow if off else lifecycle.start_shadow
    done = change(settings, database, bundle, order(who, why))
    complain(f"{bundle} is {'not a' if off else 'the'} shadow" + ("" if done else " already"))


def _report(settings: Settings, database: Database, bundle: str, *, as_json: bool, as_csv: bool) -> None:
    from worker.db.tasks.shadow import compare, was_shadow
    from worker.models import lifecycle

    with database.reads() as session:
        is_or_was = was_shadow(session, bundle)
        rows = [item.as_dict() for item in compare(session, bundle)]
    if not is_or_was:
        known = ", ".join(lifecycle.standings(settings)) or "none"
        msg = f"{bundle} is not and was never a shadow: start it with 'auscult model shadow {bundle}' (models on record: {known})"
        raise UsageError(msg)

    def show() -> None:
        for row in rows:
            print_facts(row.items())
        if not rows:
            complain(f"{bundle} has scored nothing as a shadow yet")
        console().print(NOTICE)

    document = {"shadow": bundle, "comparisons": rows, "notice": NOTICE}
    print_answer(document, rows, show, as_json=as_json, as_csv=as_csv)
