"""What an audit event holds: codes of the standard for every act, texts that can be stored, JSON of bounded size."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from worker.db.audit.codes import CODES, MEANINGS, Act
from worker.db.audit.record import DETAIL_MAX, bounded_json, storable


def test_every_act_has_codes_and_every_code_its_meaning():
    assert set(CODES) == set(Act)
    for code in CODES.values():
        assert code.event in MEANINGS
        assert code.type == "" or code.type in MEANINGS
    assert all(act.value == act.name and len(act) <= 40 for act in Act)


@given(st.dictionaries(st.text(), st.text(st.characters(exclude_categories=())) | st.integers() | st.none()))
def test_the_detail_is_json_that_both_databases_can_store(detail):
    kept = bounded_json(detail)
    assert isinstance(json.loads(kept), dict)
    assert kept.isascii()
    assert "\0" not in kept


def test_values_that_make_the_detail_too_long_are_replaced_by_their_lengths():
    kept = bounded_json({"a": 1, "names": ["x" * 100] * 1000, "long": "y" * 3999, "b": "short"})
    assert len(kept) <= DETAIL_MAX
    assert json.loads(kept) == {"a": 1, "names": "103001 characters", "long": "4001 characters", "b": "short"}
    assert len(bounded_json({f"name {i}": i for i in range(10_000)})) <= DETAIL_MAX


def test_what_postgresql_cannot_store_is_left_out():
    assert storable("PA\0CS\ud800") == "PACS?"
