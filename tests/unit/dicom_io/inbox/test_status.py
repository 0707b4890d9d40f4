"""The statuses of C-STORE responses."""

from __future__ import annotations

import pytest

from dicom_io.inbox.status import StoreStatus


def test_each_status_has_a_number_and_words_of_its_own() -> None:
    assert len({status.code for status in StoreStatus}) == len(StoreStatus)
    for status in StoreStatus:
        assert len(status.comment) <= 64
        assert status.sentence.endswith(".")
        assert (status is StoreStatus.SUCCESS) == (status.comment == "") == (status.reason is None)


@pytest.mark.parametrize("status", StoreStatus)
def test_numbers_lie_in_the_ranges_of_the_standard(status: StoreStatus) -> None:
    # PS3.4 Table B.2-1 and PS3.7 annex C.
    ranges = ((0x0000, 0x0000), (0x0110, 0x0110), (0xA700, 0xA7FF), (0xA900, 0xA9FF), (0xC000, 0xCFFF))
    assert any(low <= status.code <= high for low, high in ranges)
    assert status.as_dataset().Status == status.code
