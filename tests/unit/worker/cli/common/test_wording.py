"""Words that several verbs print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicom_io.reasons import Reason
from worker.cli.common.wording import explain_codes

if TYPE_CHECKING:
    import pytest


def test_a_code_is_explained_once_and_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    explain_codes(["LATERAL_VIEW", None, "AGE_UNKNOWN", "LATERAL_VIEW"])
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        f"auscult: LATERAL_VIEW: {Reason.LATERAL_VIEW.sentence}",
        f"auscult: AGE_UNKNOWN: {Reason.AGE_UNKNOWN.sentence}",
    ]
