"""A deflated data set as a file: the same bytes at every position, and never more work than allowed."""

from __future__ import annotations

import io
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_io.header.inflate import Inflated

PLAIN = bytes(range(256)) * 5000


def deflated(plain: bytes = PLAIN) -> io.BytesIO:
    machine = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = io.BytesIO(b"head" + machine.compress(plain) + machine.flush() + b"tail")
    packed.seek(4)
    return packed


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["to", "by"]), st.integers(0, len(PLAIN) + 99), st.integers(0, 5000)), max_size=8
    )
)
def test_it_reads_like_the_inflated_file(steps: list[tuple[str, int, int]]) -> None:
    file, plain = io.BufferedReader(Inflated(deflated(), 1 << 30), 4096), io.BytesIO(PLAIN)
    for how, offset, size in steps:
        for each in (file, plain):
            each.seek(min(offset, len(PLAIN) - each.tell()) if how == "by" else offset, how == "by")
        assert file.read(size) == plain.read(size)


def test_it_ends_at_its_limit_and_stepping_back_counts() -> None:
    file = Inflated(deflated(), 3000)
    assert len(file.read(2000)) == 2000
    assert file.seek(0) == 0
    assert len(file.read()) == 1000
    assert file.read(1) == b""


def test_damage_is_an_error_of_zlib() -> None:
    with pytest.raises(zlib.error):
        Inflated(io.BytesIO(b"\xff" * 100), 1 << 20).read()
