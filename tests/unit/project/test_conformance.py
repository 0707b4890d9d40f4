"""The conformance statement says what the code does: each number and code of it is held against the code."""

from __future__ import annotations

import re

import pytest

from dicom_io import limits
from dicom_io.client import query, retrieve
from dicom_io.header import charsets
from dicom_io.header.file_meta import IMPLEMENTATION_CLASS_UID
from dicom_io.listener import commitment, door
from dicom_io.listener.commitment import ActionStatus, FailureReason
from dicom_io.network.tls import TLS_1_2_SUITES
from dicom_io.reasons import STUDY_REASONS, Reason
from dicom_io.upper_layer import fragments
from dicom_io.upper_layer import provider as upper_layer
from dicom_io.upper_layer.negotiation import STORAGE_COMMITMENT_UID
from tests.support.documents import ROOT
from worker.environment import PREFIX
from worker.fetching.fetch import ANSWER_S
from worker.fetching.questions import SUSPICIOUS
from worker.intake import commitment as book
from worker.settings import Settings

TEXT = (ROOT / "CONFORMANCE.md").read_text(encoding="utf-8")
#: The headings of PS3.2 annex A, in its order.
CHAPTERS = (
    "Overview",
    "Introduction",
    "Networking",
    "Media interchange",
    "Support of character sets",
    "Security",
    "Annexes",
)
#: Settings whose default the section on associations states in brackets.
STATED = (
    "max_associations",
    "max_per_peer",
    "max_pdu",
    "max_object_mb",
    "max_memory_mb",
    "request_timeout_s",
    "pdu_timeout_s",
    "network_timeout_s",
)


def section(heading: str) -> str:
    """The text from a heading to the next one of its rank."""
    found = re.search(rf"^(#+) {re.escape(heading)}.*?\n(.*?)(?=^#{{2,4}} |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[2]


def codes_of(heading: str, column: str) -> set[int]:
    """The numbers in the first column of the table with this heading."""
    table = section(heading).partition(f"| {column} |")[2].partition("\n\n")[0]
    return {int(code, 16) for code in re.findall(r"^\| 0x([0-9A-F]{4})\b", table, re.MULTILINE)}


def test_it_has_the_chapters_of_the_standard_template() -> None:
    assert tuple(re.findall(r"^## \d (.*)$", TEXT, re.MULTILINE)) == CHAPTERS


@pytest.mark.parametrize("name", STATED)
def test_a_limit_is_stated_with_its_default(name: str) -> None:
    stated = re.search(rf"`{PREFIX}{name.upper()}` \((\d+)", section("3.2.1 Association policies"))
    assert stated
    assert float(stated[1]) == Settings.model_fields[name].default


def test_the_limits_that_are_no_settings_are_stated() -> None:
    policies = section("3.2.1 Association policies")
    assert f"the request itself {upper_layer.MAX_REQUEST_BYTES >> 10} KiB" in policies
    assert f"{door.ECHO_RESERVE} more that propose Verification alone" in policies
    assert Settings.model_fields["association_timeout_s"].default == 86400
    assert f"command set of a message | {fragments.MAX_COMMAND_BYTES >> 10} KiB" in TEXT
    assert f"{limits.MAX_PIXELS // 10**6} million pixels" in TEXT
    assert f"shortest side {limits.MIN_SIDE_PX} pixels" in TEXT


def test_the_implementation_is_named() -> None:
    assert f"| implementation class UID | {IMPLEMENTATION_CLASS_UID} |" in TEXT


@pytest.mark.parametrize(
    "uid", [STORAGE_COMMITMENT_UID, query.STUDY_ROOT_FIND, retrieve.STUDY_ROOT_MOVE, retrieve.STUDY_ROOT_GET]
)
def test_every_service_is_in_the_overview(uid: str) -> None:
    assert f"| {uid} |" in section("1 Overview")


def test_the_statuses_of_storage_commitment_are_all_there_and_no_others() -> None:
    heading = "3.2.4 Storage Commitment Push Model"
    assert codes_of(heading, "N-ACTION status") == set(ActionStatus)
    assert codes_of(heading, "Failure Reason (0008,1197)") == set(FailureReason)


def test_the_limits_of_storage_commitment_are_stated() -> None:
    text = section("3.2.4 Storage Commitment Push Model")
    assert f"| {commitment.MAX_REFERENCES:,}; requests waiting {book.MAX_WAITING:,} |" in text
    assert f"{book.GRACE_S:g} s, and {book.INBOX_S:g} s while the inbox holds entries" in text
    assert f"for {book.GIVE_UP_S / 86400:g} days" in text


@pytest.mark.parametrize("status", sorted(retrieve.SENTENCES))
def test_every_status_of_a_retrieval_that_has_a_sentence_is_there(status: int) -> None:
    if status != retrieve.CANCELLED:
        assert f"0x{status:04X}" in section("3.3 AE AUSCULT as requestor")


def test_the_time_a_pacs_has_to_answer_is_stated() -> None:
    assert f"{ANSWER_S:g} s for the first answer" in section("3.3 AE AUSCULT as requestor")


def test_when_a_query_is_asked_in_smaller_parts_is_stated() -> None:
    text = section("3.3 AE AUSCULT as requestor")
    assert f"sends {SUSPICIOUS} answers or more" in text
    assert f"After {query.MAX_ANSWERS:,}\nanswers a query is cancelled" in text


def test_every_character_set_is_named() -> None:
    text = section("5 Support of character sets")
    numbers = {int(number) for number in re.findall(r"\b\d{1,3}\b", text.partition("<!-- character sets -->")[2])}
    assert set(charsets.SETS) <= numbers


def test_the_suites_of_tls_are_those_that_are_offered() -> None:
    row = re.search(r"^\| suites of TLS 1\.2 \| (.*) \|$", TEXT, re.MULTILINE)
    assert row
    assert row[1].split(", ") == list(TLS_1_2_SUITES)


@pytest.mark.parametrize("reason", STUDY_REASONS)
def test_every_reason_of_a_study_is_explained(reason: Reason) -> None:
    assert f"| {reason} | {reason.sentence} |" in TEXT


@pytest.mark.parametrize(
    "reason", [reason for reason in Reason if reason.outcome is None and reason not in STUDY_REASONS]
)
def test_every_reason_of_a_refusal_at_the_door_is_explained(reason: Reason) -> None:
    assert f"| {reason} | {reason.sentence} |" in section("6 Security")
