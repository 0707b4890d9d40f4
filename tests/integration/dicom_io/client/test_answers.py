"""An answer is taken by the request that waits for it, not by the association's own thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from pynetdicom import build_context
from pynetdicom.dimse_primitives import C_ECHO
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicom_io.client.association import IMPLICIT_VR_LITTLE_ENDIAN, Caller, association
from dicom_io.client.peer import Peer
from tests.support.listening import LOCAL, listening

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


def test_the_thread_that_has_just_passed_the_checkpoint_takes_no_answer(tmp_path: Path) -> None:
    context = build_context(Verification, IMPLICIT_VR_LITTLE_ENDIAN)
    with (
        listening(tmp_path) as served,
        association(Peer("AUSCULT", LOCAL, served.port), [context], Caller()) as opened,
    ):
        assert opened.send_c_echo().get("Status") == 0
        # As a request does before it is sent; the thread is past the checkpoint when the answer comes.
        opened._reactor_checkpoint.clear()
        answer = cast("Any", (1, C_ECHO()))
        opened.dimse.msg_queue.put(answer)
        assert opened.dimse.get_msg(block=False) == (None, None)
        assert opened.dimse.get_msg(block=True) == answer
        opened._reactor_checkpoint.set()
        assert opened.send_c_echo().get("Status") == 0
