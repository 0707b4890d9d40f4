"""AE titles and addresses."""

from __future__ import annotations

import pytest

from dicom_io.network.addresses import shown_ae_title


@pytest.mark.parametrize(
    ("sent", "shown"),
    [(b"PACS1", "PACS1"), (b"A\r\nB\0C", "A??B?C"), (b"\xc9" * 20, "?" * 16), ("É".encode(), "??")],
)
def test_titles_are_shown_without_what_could_harm(sent: bytes, shown: str) -> None:
    assert shown_ae_title(sent) == shown
