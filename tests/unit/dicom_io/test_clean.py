"""Cleaned text is bounded and every database takes it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_io.clean import clean_text


@settings(deadline=None)
@given(st.text(max_size=400), st.integers(1, 320))
def test_clean_text_is_bounded_and_holds_nothing_a_database_refuses(text: str, limit: int) -> None:
    clean = clean_text(text, limit)
    assert len(clean) <= limit
    assert "\0" not in clean
    clean.encode("utf-8")
