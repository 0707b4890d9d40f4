"""``auscult quarantine``: what could not be registered and why; put it back, or delete it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common.options import Who, Why, WhyGiven
from worker.cli.common.output import (
    AsCsv,
    AsJson,
    Yes,
    complain,
    confirm,
    opened_once,
    print_answer,
    print_table,
)
from worker.cli.common.verbs import Verbs
from worker.database import open_database
from worker.db.audit.record import Actor
from worker.errors import UsageError
from worker.intake import quarantine

if TYPE_CHECKING:
    from worker.settings import Settings

app = Verbs(help="Objects that could not be registered: why, put back, delete.")

COLUMNS = {
    "short": "Key",
    "spool": "From",
    "reason": "Reason",
    "cause": "Cause",
    "set_aside_at": "Set aside",
    "size_bytes": "Bytes",
    "calling_aet": "Sender",
    "peer": "Address",
    "sop_uid": "SOP Instance UID",
}
Keys = Annotated[
    list[str] | None, typer.Argument(help="Keys as the list shows them, or their first characters.", metavar="[KEY]...")
]
All = Annotated[bool, typer.Option("--all", help="Every entry in quarantine.")]
#: The first characters of a key that the table shows.
SHOWN = 12


@app.command("list")
def quarantine_list(as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """List what is in quarantine: when and why it was set aside, who sent it, what could be read of it."""
    rows = [each.as_dict() for each in quarantine.held(opened_once())]
    shown = [row | {"short": row["key"][:SHOWN]} for row in rows]
    print_answer(rows, rows, lambda: print_table(shown, COLUMNS), as_json=as_json, as_csv=as_csv)
    if not rows:
        complain("nothing is in quarantine")
    elif not (as_json or as_csv):
        for sentence in dict.fromkeys(row["sentence"] for row in rows):
            complain(sentence)


@app.command("release")
def quarantine_release(
    keys: Keys = None,
    everything: All = False,
    who: Who = None,
    why: Why = "",
) -> None:
    """Put entries back into their spool, to be tried again once the cause is gone.

    A running listener files its objects at once, the next `auscult ingest` or `fetch` theirs.
    """
    settings = opened_once()
    chosen = _chosen(settings, keys, everything=everything)
    database, actor = open_database(settings), Actor.user(who or "")
    for each in chosen:
        quarantine.release(settings, database, each, actor, why)
    complain(f"put back into their spool: {len(chosen)}")


@app.command("discard")
def quarantine_discard(
    why: WhyGiven,
    keys: Keys = None,
    everything: All = False,
    who: Who = None,
    yes: Yes = False,
) -> None:
    """Delete entries for good. Their sender was told that Auscult has them: make sure that it still holds them."""
    settings = opened_once()
    chosen = _chosen(settings, keys, everything=everything)
    if not chosen:
        complain("nothing is in quarantine")
        return
    database, actor = open_database(settings), Actor.user(who or "")
    confirm(f"this deletes {len(chosen)} entries of the quarantine for good", yes=yes)
    for each in chosen:
        quarantine.discard(settings, database, each, actor, why)
    complain(f"deleted: {len(chosen)}")


def _chosen(settings: Settings, keys: list[str] | None, *, everything: bool) -> list[quarantine.Held]:
    if bool(keys) == everything:
        msg = "name the entries by their keys, or give --all for every entry"
        raise UsageError(msg)
    return quarantine.held(settings) if everything else quarantine.named(settings, keys or [])
