"""The short form of the fault suite: one round of some kinds on each database; `python3 dev.py faults` plays them all."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.faults.host import library
from tests.faults.kinds import KINDS, Kind
from tests.faults.rounds import Campaign
from tests.faults.stack import POSTGRESQL, SQLITE, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(400)]

SEED, STUDIES = 20261129, 8


@pytest.fixture(scope="module")
def campaign(request: pytest.FixtureRequest) -> Iterator[Campaign]:
    with ExitStack() as stack:
        site = stack.enter_context(Stack(request.param))
        yield stack.enter_context(Campaign(site, SEED, STUDIES))


@pytest.mark.parametrize(
    ("campaign", "kind"),
    [
        pytest.param(database, kind, id=f"{database}-{kind.name}")
        for database in (SQLITE, POSTGRESQL)
        for kind in KINDS.values()
        if database in kind.short
    ],
    indirect=["campaign"],
)
def test_what_was_acknowledged_is_answered_once_and_rightly_after(campaign: Campaign, kind: Kind) -> None:
    if kind.needs_shim and library() is None:
        pytest.skip("no C compiler, so this host's clock and disk cannot be changed for one process")
    played = campaign.play(kind)
    assert played.verdict.is_clean, "\n".join([*played.steps, *played.verdict.sentences()])
    assert played.studies
