"""What is accepted as a UID."""

from __future__ import annotations

import pytest

from dicom_io.header.elements import valid_uid


@pytest.mark.parametrize("uid", ["1", "1.2.840.10008", "0.00.1", "1.02.3", "9" * 64])
def test_a_uid_of_digits_and_dots_is_valid(uid: str) -> None:
    assert valid_uid(uid)


@pytest.mark.parametrize("uid", ["", ".", "1.", ".1", "1..2", "1.2.a", "../evil", "1.2\n", "1" * 65, "1.2 ", "１.２"])
def test_any_other_text_is_not_a_valid_uid(uid: str) -> None:
    assert not valid_uid(uid)
