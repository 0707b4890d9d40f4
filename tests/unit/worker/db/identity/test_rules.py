"""Whose film is it: the pure rules, from facts alone."""

from __future__ import annotations

import itertools

import pytest

from worker.db.identity.rules import (
    NO_PIXELS,
    Patient,
    StudyRow,
    Transmission,
    Version,
    counting,
    films_of,
    is_withdrawn,
    may_rename,
    row_of,
)

ANN, BEN, NOBODY = Patient("a"), Patient("b"), Patient()


def transmissions(*said: tuple[int, str, str]) -> list[Transmission]:
    """What sources sent at which moments, as receipts keep it."""
    found: dict[tuple[str, str], Transmission] = {}
    for at, source, version in said:
        known = found.get((source, version), Transmission(version, source, at, at))
        first, last = min(known.first_at_ms, at), max(known.last_at_ms, at)
        found[source, version] = Transmission(version, source, first, last)
    return list(found.values())


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        ([(1, "A", "v1")], "v1"),
        ([(1, "A", "v1"), (2, "A", "v2")], "v2"),
        # A correction taken back by the source that made it.
        ([(1, "A", "v1"), (2, "A", "v2"), (3, "A", "v1")], "v1"),
        ([(1, "A", "v1"), (2, "A", "v2"), (3, "A", "v1"), (4, "A", "v2")], "v2"),
        # A stale retry of another source undoes nothing, nor does that of the source that was corrected.
        ([(1, "A", "v1"), (2, "B", "v2"), (3, "A", "v1")], "v2"),
        ([(1, "A", "v1"), (2, "B", "v2"), (3, "C", "v1")], "v2"),
        # The source that corrected may go back itself.
        ([(1, "A", "v1"), (2, "B", "v2"), (3, "B", "v1")], "v1"),
        # Bytes never seen before count, whoever sends them.
        ([(1, "A", "v1"), (2, "B", "v2"), (3, "A", "v3")], "v3"),
        ([(1, "A", "v1"), (2, "B", "v2"), (3, "A", "v3"), (4, "B", "v2")], "v3"),
    ],
)
def test_the_version_that_counts_is_what_the_source_that_corrected_last_sent_last(said, counts):
    for order in itertools.permutations(transmissions(*said)):
        assert counting(order) == counts


@pytest.mark.parametrize(
    ("one", "other", "same", "possible"),
    [
        (Patient("a", "X"), Patient("a", "X"), True, True),
        (Patient("a", "X"), Patient("a"), True, True),
        (Patient("a", "X"), Patient("a", "Y"), False, False),
        (ANN, BEN, False, False),
        (ANN, NOBODY, False, True),
        (NOBODY, NOBODY, True, True),
    ],
)
def test_patients_are_compared_by_id_and_issuer(one, other, same, possible):
    assert (one.is_same(other), other.is_same(one)) == (same, same)
    assert (one.may_be(other), other.may_be(one)) == (possible, possible)


def version(study: int, patient: Patient, pixels: str) -> Version:
    return Version(0, study, "1.2", patient, pixels, f"{study}{patient}{pixels}", True)


def test_the_same_pixels_are_the_same_film_and_other_pixels_need_the_same_patient():
    rows, known = [StudyRow(1, 0, ANN)], [version(1, ANN, "p")]
    assert films_of(BEN, "p", rows, known) == [1]
    assert films_of(ANN, "q", rows, known) == [1]
    assert films_of(BEN, "q", rows, known) == []
    assert films_of(NOBODY, "q", rows, known) == []
    assert films_of(BEN, "", rows, [version(1, ANN, "")]) == []
    assert films_of(BEN, NO_PIXELS, rows, [version(1, ANN, NO_PIXELS)]) == [1]


def test_an_object_that_is_a_version_of_two_films_makes_them_one():
    rows = [StudyRow(1, 0, ANN), StudyRow(2, 1, BEN)]
    assert films_of(BEN, "p", rows, [version(1, ANN, "p"), version(2, BEN, "q")]) == [1, 2]


def test_a_film_joins_the_row_of_its_patient_and_one_without_an_id_the_first():
    rows = [StudyRow(2, 1, BEN), StudyRow(1, 0, ANN)]
    assert row_of(BEN, rows, is_known=False) == 2
    assert row_of(Patient("c"), rows, is_known=False) is None
    assert row_of(NOBODY, rows, is_known=False) == 1
    assert row_of(NOBODY, rows, is_known=True) is None
    assert row_of(Patient("a", "X"), [StudyRow(1, 0, ANN), StudyRow(3, 2, Patient("a", "X"))], is_known=False) == 3


def test_a_row_takes_another_patient_only_when_no_other_film_of_it_names_someone_else():
    assert may_rename(BEN, StudyRow(1, 0, ANN))
    assert may_rename(BEN, StudyRow(1, 0, ANN, (NOBODY, BEN)))
    assert not may_rename(BEN, StudyRow(1, 0, ANN, (ANN,)))


def test_a_contradiction_is_withdrawn_when_each_of_its_sources_sent_the_object_again_where_it_is_held():
    claim = [("1", Transmission("x", "A", 5, 5)), ("1", Transmission("x", "B", 6, 6))]
    assert not is_withdrawn(claim, [("1", Transmission("v", "A", 1, 7))])
    assert not is_withdrawn(claim, [("1", Transmission("v", "A", 1, 7)), ("2", Transmission("w", "B", 1, 9))])
    assert not is_withdrawn(claim, [("1", Transmission("v", "A", 1, 7)), ("1", Transmission("v", "B", 1, 6))])
    assert is_withdrawn(claim, [("1", Transmission("v", "A", 1, 7)), ("1", Transmission("v", "B", 1, 8))])
    assert not is_withdrawn([], [])
