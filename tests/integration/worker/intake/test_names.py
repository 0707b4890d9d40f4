"""Names in every character set on their whole way: pushed by dcmtk, or ingested; into the row, and nowhere else."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from dicom_io.inbox.journal import Journal
from dicom_io.inbox.spool import Spool
from dicom_io.inbox.store import Store
from tests.support.listening import LOCAL, listener_process
from tests.support.objects import Made
from worker.batches.ingest import Ingester
from worker.intake.filing import Filing, StudyClock
from worker.intake.registrar import Registrar

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.peers import Peers
    from worker.database import Database

pytest_plugins = ["tests.support.peers"]
pytestmark = pytest.mark.integration

JAPANESE = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B"
KOREAN = b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf"
#: Declared set, name as sent, name as stored.
NAMES = [
    (b"\\ISO 2022 IR 87", JAPANESE, "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    (b"\\ISO 2022 IR 149", KOREAN, "Hong^Gildong=洪^吉洞=홍^길동"),
    (b"ISO_IR 192", "Wang^XiaoDong=王^小東=".encode(), "Wang^XiaoDong=王^小東="),
    (b"GB18030", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab=", "Wang^XiaoDong=王^小东="),
    (b"ISO_IR 100", b"\xc4neas^R\xfcdiger", "Äneas^Rüdiger"),
    (b"ISO_IR 144", b"\xbb\xee\xdace\xdc\xd1yp\xd3", "Люкceмбypг"),
    (b"ISO_IR 126", b"\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2", "Διονυσιος"),
    (b"ISO_IR 127", b"\xe2\xc8\xc7\xe6\xea^\xe4\xe6\xd2\xc7\xd1", "قباني^لنزار"),
    (b"ISO_IR 138", b"\xf9\xf8\xe5\xef^\xe3\xe1\xe5\xf8\xe4", "שרון^דבורה"),
    (b"ISO_IR 166", "นามสกุล^ชื่อ".encode("tis_620"), "นามสกุล^ชื่อ"),
    # declared wrongly
    (b"ISO_IR 100", "Müller^Łukasz".encode(), "Müller^Łukasz"),
    (b"NONSENSE^MIXUP", b"M\xfcller^Zoe", "Müller^Zoe"),
    (b"", "Grün^\U0001f600".encode() + b"\0\x1b[31m", "Grün^\U0001f600[31m"),
]


@pytest.fixture
def films(tmp_path: Path) -> dict[Path, tuple[str, str]]:
    """Files, each with its study and the name it should get."""
    found = {}
    for number, (declared, sent, name) in enumerate(NAMES):
        made = Made(changes={0x00080005: (b"CS", declared), 0x00100010: (b"PN", sent), 0x00100020: (b"LO", b"0012-Ab")})
        found[made.write(tmp_path / f"{number}.dcm")] = (made.study_uid, name)
    return found


def stored(database: Database) -> dict[str, tuple[str, str]]:
    with database.reads() as session:
        rows = session.execute(text("SELECT study_uid, patient_name, patient_id FROM study")).all()
    return {study: (name, number) for study, name, number in rows}


def words() -> set[str]:
    """Every part of every name, as text and as a log would quote bytes."""
    parts = {part for _, _, name in NAMES for part in re.split(r"[\^=]", name) if len(part) > 2}
    return parts | {ascii(part).strip("'") for part in parts} | {"xc4neas", "NONSENSE", "MIXUP"}


def test_a_name_pushed_by_dcmtk_is_in_its_row_and_in_no_log(
    dcmtk: Peers,
    database: Database,
    films: dict[Path, tuple[str, str]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with listener_process(tmp_path / "spool") as listener:
        done = dcmtk.run("storescu", LOCAL, listener.port, *films)
        assert done.returncode == 0, done.stderr
        listener.stop()
        listener.close()
        log = "\n".join([*listener.log, *map(str, listener.events.queue)])
    spool = Spool(tmp_path / "spool")
    filing = Filing(database.sessions, Store(tmp_path / "store"), StudyClock(1000, 60_000))
    Registrar(spool, Journal(spool.root), database.sessions, lambda: filing, lambda: None).turn()
    assert stored(database) == {study: (name, "0012-Ab") for study, name in films.values()}
    assert log
    assert caplog.text
    assert [word for word in words() if word in log + caplog.text] == []


def test_an_ingested_name_is_in_its_row_and_in_no_log(
    database: Database, films: dict[Path, tuple[str, str]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ingester = Ingester(
        Spool(tmp_path / "spool"), Filing(database.sessions, Store(tmp_path / "store"), StudyClock(1000, 60_000))
    )
    for film in films:
        ingester.take(film)
    assert ingester.intake.turned == []
    assert stored(database) == {study: (name, "0012-Ab") for study, name in films.values()}
    assert [word for word in words() if word in caplog.text] == []
