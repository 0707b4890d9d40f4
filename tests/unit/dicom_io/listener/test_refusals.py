"""How refusals are counted and recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dicom_io.header.file_meta import Sender
from dicom_io.inbox.journal import Journal
from dicom_io.listener import refusals as refusals_module
from dicom_io.listener.refusals import Refusals
from dicom_io.reasons import Reason
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


def counts(journal: Journal) -> list[tuple[str, int]]:
    return [(record.calling_aet, record.count) for record in journal.drain().records]


def sender(title: str, host: str = "192.0.2.1") -> Sender:
    return Sender(title, "AUSCULT", host)


def test_repeats_are_noted_once_their_time_is_over_though_nobody_calls_any_more(journal: Journal) -> None:
    refusals = Refusals(journal, repeat_s=0.2)
    for _ in range(7):
        refusals.association(Reason.CALLING_AE_NOT_ALLOWED, sender("A"))
    refusals.association(Reason.CALLING_AE_NOT_ALLOWED, sender("B"))
    refusals.association(Reason.TLS_FAILED, sender("A"))
    # Not before: on a busy machine the time would be over between two of them.
    refusals.start()
    wait_until(lambda: len(counts(journal)) == 4, what="the repeats to be noted")
    assert counts(journal) == [("A", 1), ("B", 1), ("A", 1), ("A", 6)]
    refusals.close()
    assert len(counts(journal)) == 4


def test_a_host_of_many_names_is_noted_by_its_address(journal: Journal) -> None:
    refusals = Refusals(journal)
    for number in range(100):
        refusals.association(Reason.CALLING_AE_NOT_ALLOWED, sender(f"A{number}"))
    refusals.association(Reason.CALLING_AE_NOT_ALLOWED, sender("OTHER", host="192.0.2.2"))
    refusals.close()
    told = counts(journal)
    assert len(told) == refusals_module._MAX_TITLES_OF_HOST + 3
    assert sum(count for _, count in told) == 101
    assert told[-1] == ("", 79)


def test_the_number_of_callers_told_apart_is_bounded(journal: Journal) -> None:
    refusals = Refusals(journal)
    for number in range(2 * refusals_module._MAX_CALLERS):
        refusals.association(Reason.TLS_FAILED, sender("", host=f"192.0.{number >> 8}.{number & 255}"))
    assert len(refusals._callers) == refusals_module._MAX_CALLERS + 1
    refusals.close()
