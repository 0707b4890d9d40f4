"""Options and arguments that several verbs take."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.environment import login
from worker.errors import UsageError

if TYPE_CHECKING:
    from worker.db.models.bundles import Order


def given(why: str) -> str:
    """Return a reason that says something; raises `UsageError` for an empty one."""
    if not why.strip():
        msg = "--why is empty: give a reason, for the record"
        raise UsageError(msg)
    return why


Paths = Annotated[list[Path], typer.Argument(help="Files and folders.", show_default=False)]
PeerName = Annotated[
    str, typer.Argument(help="A name of AUSCULT_PEERS, AET@HOST:PORT or dicom-tls://AET@HOST:PORT.", metavar="PEER")
]
Texts = list[str] | None
EngineName = Annotated[str | None, typer.Option(help="litert or keras.")]
ModelName = Annotated[str | None, typer.Option(help="Bundle, as name-version; default: the active one.")]
BundleName = Annotated[str, typer.Argument(help="Bundle, as name-version.", metavar="NAME-VERSION")]
BundleOrFolder = Annotated[str, typer.Argument(help="Bundle: name-version, or the path of its folder.")]
Who = Annotated[str | None, typer.Option(help="Who asks for it; default: your login name.")]
Why = Annotated[str, typer.Option(help="Why, for the record.")]
#: For acts that nobody does without a reason: it has no default.
WhyGiven = Annotated[str, typer.Option("--why", help="Why, for the record.", callback=given)]
PatientId = Annotated[str, typer.Argument(help="Patient ID (0010,0020), as the worklist shows it.", show_default=False)]
Issuer = Annotated[
    str | None, typer.Option(help="Issuer of Patient ID (0010,0021); needed where several gave this ID.")
]
Limit = Annotated[int, typer.Option(help="How many rows.", min=1)]
AfterNumber = Annotated[
    int | None, typer.Option(help="Go on behind the row of this number, as the page before names it.")
]
#: Rows of a page, where nothing else is asked for.
PAGE = 50
#: Outcomes that make a command end with exit code 1.
FAILURES = frozenset({"FAILED", "BAD_INPUT"})


def moment(text: str) -> datetime:
    """Return a day or a moment as Auscult prints it (ISO 8601), with its zone: UTC unless another is given."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        msg = f"{text} is not a time: give a day or a moment such as 2026-01-31, 2026-01-31T08:00:00 or 2026-01-31T08:00:00+01:00"
        raise typer.BadParameter(msg) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def day(text: str) -> date:
    """Return a day, with hyphens or as in DICOM (DA)."""
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        msg = f"{text} is not a day: give one such as 2026-01-31 or 20260131"
        raise typer.BadParameter(msg) from None


#: Of options that take a moment or a day.
MOMENT: Any = {"parser": moment, "metavar": "<time>"}
DAY: Any = {"parser": day, "metavar": "<day>"}


def upper(words: Texts) -> tuple[str, ...]:
    """Return the values of an option that may be repeated, in upper case as states and codes are."""
    return tuple(word.upper() for word in words or ())


def order(who: str | None, why: str) -> Order:
    """Return who asks for a change and why, for the record; by default the user who runs the command."""
    from worker.db.models.bundles import Order  # commands that only read do not load the tables

    return Order(who or login(), why)
