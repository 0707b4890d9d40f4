"""``auscult model activate`` and ``retire``."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.common.options import BundleName, Who, Why, order
from worker.cli.common.output import Yes, complain, confirm, opened_once
from worker.cli.common.wording import warn_of_workers
from worker.database import open_database
from worker.models.active import bundle_of


def activate(bundle: BundleName, who: Who = None, why: Why = "", yes: Yes = False) -> None:
    """Use a bundle for every new image from now on; no restart is needed.

    Asks first where a shadow's comparison, an evaluation or the validation on record is evidence against it.
    """
    from worker.models import lifecycle
    from worker.models.track_record import against

    settings = opened_once()
    database = open_database(settings)
    lifecycle.check_can_activate(settings, database, bundle)
    if doubts := against(settings, database, bundle_of(settings, bundle)):
        confirm(f"this is evidence against {bundle}: {'; '.join(doubts)}", yes=yes)
    warn_of_workers(settings, database, bundle)
    done = lifecycle.activate(settings, database, bundle, order(who, why))
    complain(f"{bundle} is the active model" + ("" if done else " already"))


def retire(
    bundle: BundleName,
    who: Who = None,
    why: Why = "",
    off: Annotated[bool, typer.Option("--off", help="Undo a retirement.")] = False,
) -> None:
    """Exclude a bundle from new work: it can neither be activated nor be a shadow nor be used in a re-run."""
    from worker.models import lifecycle

    settings = opened_once()
    database = open_database(settings)
    change = lifecycle.reinstate if off else lifecycle.retire
    done = change(settings, database, bundle, order(who, why))
    complain(f"{bundle} is {'not ' if off else ''}retired" + ("" if done else " already"))
