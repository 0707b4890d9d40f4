"""``auscult model`` continued: activate, retire, shadow, verify, export, import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from worker.bootstrap import Database, active_bundle, bundle_of, open_database
from worker.cli.output import (
    NOTICE,
    AsCsv,
    AsJson,
    Yes,
    complain,
    confirm,
    console,
    login,
    opened_once,
    print_answer,
    print_facts,
    print_table,
)
from worker.errors import UsageError
from worker.settings import Settings

FAILED = 1

Bundle = Annotated[str, typer.Argument(help="name-version.", metavar="NAME-VERSION")]
Who = Annotated[str | None, typer.Option(help="Who wants it; default: the user's login name.")]
Why = Annotated[str, typer.Option(help="Why, for the record.")]


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    for verb in (activate, retire, shadow, verify, export):
        app.command()(verb)
    app.command("import")(import_)


def activate(bundle: Bundle, who: Who = None, why: Why = "", yes: Yes = False) -> None:
    """Let a bundle score every new image from now on; what runs goes on, and no restart is needed.

    Asks first where a shadow's comparison, an evaluation or the validation on record speaks against it.
    """
    from worker import lifecycle
    from worker.evidence import against

    settings, database = _opened()
    lifecycle.check_can_activate(settings, database, bundle)
    if doubts := against(settings, database, bundle_of(settings, bundle)):
        confirm(f"this speaks against {bundle}: {'; '.join(doubts)}", yes=yes)
    _check_workers(settings, database, bundle)
    done = lifecycle.activate(settings, database, bundle, _order(who, why))
    complain(f"{bundle} is the active model" + ("" if done else " already"))


def retire(
    bundle: Bundle,
    who: Who = None,
    why: Why = "",
    off: Annotated[bool, typer.Option("--off", help="Take a retirement back.")] = False,
) -> None:
    """Let a bundle be used for nothing new: not activated, not a shadow, in no re-run."""
    from worker import lifecycle

    settings, database = _opened()
    change = lifecycle.reinstate if off else lifecycle.retire
    done = change(settings, database, bundle, _order(who, why))
    complain(f"{bundle} is {'not ' if off else ''}retired" + ("" if done else " already"))


def shadow(
    bundle: Annotated[str | None, typer.Argument(help="name-version; default: the shadow there is or was.")] = None,
    who: Who = None,
    why: Why = "",
    off: Annotated[bool, typer.Option("--off", help="End the shadow; what it has scored stays.")] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Compare it with the active model, and change nothing.")
    ] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Let a second bundle score every new image beside the active one, without touching the worklist."""
    from worker import lifecycle
    from worker.db.shadow import known_shadow

    settings, database = _opened()
    if bundle is None:
        with database.reads() as session:
            bundle = known_shadow(session)
    if bundle is None:
        msg = "no model is or was a shadow: start one with 'auscult model shadow NAME-VERSION'"
        raise UsageError(msg)
    if report:
        _report(settings, database, bundle, as_json=as_json, as_csv=as_csv)
        return
    if not off:
        _check_workers(settings, database, bundle)
    change = lifecycle.end_shadow if off else lifecycle.start_shadow
    done = change(settings, database, bundle, _order(who, why))
    complain(f"{bundle} is {'no ' if off else 'the '}shadow" + ("" if done else " already"))


def _check_workers(settings: Settings, database: Database, bundle: str) -> None:
    from worker import lifecycle

    for worker in lifecycle.check_workers(settings, database, bundle):
        complain(
            f"warning: the worker {worker} has not said that it can open {bundle}; unless it has just ended, let it share "
            f"the folder {settings.models} (AUSCULT_STORE_DIR) or its films fail"
        )


def _report(settings: Settings, database: Database, bundle: str, *, as_json: bool, as_csv: bool) -> None:
    from worker import lifecycle
    from worker.db.shadow import compare, was_shadow

    with database.reads() as session:
        is_or_was = was_shadow(session, bundle)
        rows = [item.as_dict() for item in compare(session, bundle)]
    if not is_or_was:
        known = ", ".join(lifecycle.standings(settings)) or "none"
        msg = f"{bundle} is not and never was a shadow: start it with 'auscult model shadow {bundle}' (models on record: {known})"
        raise UsageError(msg)

    def show() -> None:
        for row in rows:
            print_facts(row.items())
        if not rows:
            complain(f"{bundle} has scored nothing as a shadow yet")
        console().print(NOTICE)

    document = {"shadow": bundle, "comparisons": rows, "notice": NOTICE}
    print_answer(document, rows, show, as_json=as_json, as_csv=as_csv)


def verify(
    bundle: Annotated[str | None, typer.Argument(help="name-version or folder; default: the active one.")] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Check a bundle: every digest, both engines where they are installed, and that they give drawn films one score."""
    from dicom_io.phantom import drawn_chests
    from model.verify import verify_bundle

    settings = opened_once()
    found = verify_bundle(active_bundle(settings, bundle), drawn_chests())
    document = {**found.as_dict(), "notice": NOTICE}

    def show() -> None:
        print_facts((name, _exactly(value)) for name, value in found.as_dict().items() if name != "scores")
        _print_scores(document["scores"])
        console().print(NOTICE)

    print_answer(document, document["scores"], show, as_json=as_json, as_csv=as_csv)
    if not found.equal:
        complain(f"the engines give {found.bundle} other scores: export the bundle again")
        raise typer.Exit(FAILED)


def _exactly(value: Any) -> Any:
    """A difference of 1e-7 is not nothing."""
    return f"{value:.1e}" if isinstance(value, float) else value


def _print_scores(rows: list[dict[str, Any]]) -> None:
    print_table(rows, {"film": "Drawn film", "engine": "Engine", "logit": "Logit", "probability": "Probability"})


def export(
    bundle: Bundle,
    out: Annotated[Path, typer.Argument(help="A file to make, ending in .zip, or the folder to put the bundle in.")],
) -> None:
    """Write a bundle for another site; the same bundle is always the same zip, byte for byte."""
    from model.transfer import export_bundle

    written = export_bundle(bundle_of(opened_once(), bundle), out)
    complain(f"{bundle} written to {written}")


def import_(
    source: Annotated[Path, typer.Argument(help="A zip of 'auscult model export', or a bundle's folder.")],
) -> None:
    """Take a bundle into the folder that all workers of this site share, once its digests are right; no activation."""
    from model.transfer import import_bundle

    taken = import_bundle(source, opened_once().models)
    complain(f"{taken.label} is in {taken.path}; activate it with 'auscult model activate {taken.label}'")


def _opened() -> tuple[Settings, Database]:
    settings = opened_once()
    return settings, open_database(settings)


def _order(who: str | None, why: str) -> Any:
    from worker.db.models import Order

    return Order(who or login(), why)
