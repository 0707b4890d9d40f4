"""Which presentation contexts are accepted."""

from __future__ import annotations

import pytest

from dicom_io.upper_layer.associate_pdu import ProposedContext
from dicom_io.upper_layer.negotiation import STORAGE_COMMITMENT_UID, answer_to, by_preference, is_storage

VERIFICATION = "1.2.840.10008.1.1"


@pytest.mark.parametrize(
    ("uid", "taken"),
    [
        ("1.2.840.10008.5.1.4.1.1.1.1", True),
        ("1.2.840.10008.5.1.4.39.1", True),
        ("1.2.840.10008.5.1.4.1.1.129", True),
        ("1.3.6.1.4.1.9999.1", True),
        ("1.2.840.10008.5.1.4.1.1.99999", True),
        ("1.2.840.10008.1.20.1", False),
        ("1.2.840.10008.1.3.10", False),
        ("1.2.840.10008.5.1.4.1.2.2.1", False),
        ("1.2.840.10008.5.1.4.31", False),
        ("1.2.840.10008.3.1.2.3.3", False),
        ("1.2.840.10008.5.1.1.9", False),
        (VERIFICATION, False),
        ("MARKED^NAME", False),
        ("", False),
    ],
)
def test_storage_classes_are_told_from_other_services(uid: str, taken: bool) -> None:
    assert is_storage(uid) is taken


def test_transfer_syntaxes_are_ordered_by_how_well_they_are_decoded() -> None:
    assert by_preference(["1.2.3", "1.2.840.10008.1.2.4.112", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.1"]) == [
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.4.50",
        "1.2.3",
        "1.2.840.10008.1.2.4.112",
    ]


def test_each_context_is_answered_by_itself() -> None:
    cr, find, explicit = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.1.2.1"
    implicit, jpeg = "1.2.840.10008.1.2", "1.2.840.10008.1.2.4.50"
    proposed = [
        ProposedContext(1, cr, (implicit,)),
        ProposedContext(3, cr, (jpeg, explicit)),
        ProposedContext(4, VERIFICATION, (implicit,)),
        ProposedContext(5, find, (explicit,)),
        ProposedContext(7, cr, ()),
        ProposedContext(9, "", ()),
    ]
    told = [(context.context_id, context.result, context.transfer_syntax) for context in answer_to(proposed)]
    assert told == [
        (1, 0, [implicit]),
        (3, 0, [explicit]),
        (4, 0, [implicit]),
        (5, 3, [explicit]),
        (7, 4, [implicit]),
        (9, 3, [implicit]),
    ]


def test_storage_commitment_is_accepted_only_where_it_is_offered() -> None:
    proposed = [ProposedContext(1, STORAGE_COMMITMENT_UID, ("1.2.840.10008.1.2",))]
    assert [context.result for context in answer_to(proposed)] == [3]
    assert [context.result for context in answer_to(proposed, storage_commitment=True)] == [0]
