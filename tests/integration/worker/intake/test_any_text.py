"""No text of a header stops a row: NUL bytes, broken character sets, lone surrogates, texts longer than any column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicom_io.inbox.spool import Spool
from dicom_io.inbox.store import Store
from tests.support.database import BOTH, fresh_site
from tests.support.objects import Made
from worker.db.audit.codes import Act
from worker.db.audit.record import Actor, record
from worker.db.schema.engine import in_transaction
from worker.intake.filing import Filing, StudyClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.database import Site

pytestmark = pytest.mark.integration

#: The elements that become columns of text, with their value representations.
TEXTS = {
    0x00080005: b"CS",
    0x00080050: b"SH",
    0x00080068: b"CS",
    0x00081030: b"LO",
    0x00100010: b"PN",
    0x00100020: b"LO",
    0x00100021: b"LO",
    0x00100040: b"CS",
    0x00180015: b"CS",
    0x00185101: b"CS",
}
SNAGS = (
    b"\0",
    b"\0" * 40,
    b"\xed\xa0\x80",
    b"\xff\xfe",
    b"\x1b$B",
    b"\\" * 70,
    b"^=^=",
    b"x" * 64,
    b"x" * 65,
    b"x" * 5000,
)
bytes_of_texts = st.lists(st.sampled_from(SNAGS) | st.binary(max_size=80), max_size=3).map(b"".join)
declared = st.sampled_from((b"", b"ISO_IR 192", b"ISO_IR 100", b"\\ISO 2022 IR 87", b"GB18030", b"NONE"))


@pytest.fixture(scope="module", params=BOTH)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from fresh_site(request, tmp_path_factory.mktemp("site"))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts=st.fixed_dictionaries({}, optional=dict.fromkeys(TEXTS, bytes_of_texts)), charset=declared)
def test_any_text_of_a_header_becomes_a_row(
    site: Site, tmp_path_factory: pytest.TempPathFactory, texts: dict[int, bytes], charset: bytes
) -> None:
    folder: Path = tmp_path_factory.mktemp("sent")
    changes = {tag: (TEXTS[tag], value) for tag, value in texts.items()}
    made = Made(changes={0x00080005: (b"CS", charset), **changes})
    spool, store = Spool(folder / "spool"), Store(folder / "store")
    key = spool.put_file(made.write(folder / "sent.dcm"))
    entry = Filing(site.sessions, store, StudyClock(1000, 60_000)).file(spool.path(key), key)
    assert site.value(f"SELECT count(*) FROM worklist WHERE study_uid = '{made.study_uid}'") == 1
    assert site.value(f"SELECT state FROM task WHERE image_id = {entry.image_id}") == "PENDING"


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text(max_size=300) | st.sampled_from(("\0", "\ud800", "x" * 10_000, "\U0001f600" * 200)))
def test_any_text_of_a_person_becomes_an_audit_event(site: Site, text: str) -> None:
    in_transaction(
        site.sessions,
        lambda session: record(session, Act.CONFLICT_RESOLVED, Actor(text, text), detail={"why": text, text: 1}),
    )
