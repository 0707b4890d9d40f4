"""Folders and archives that somebody made to hurt: nothing hangs, nothing is lost but what is broken, all is named."""

from __future__ import annotations

import os
import struct
import sys
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest
from sqlalchemy import text

from dicom_io.header import part10, reader
from dicom_io.inbox.archives import MAX_RATIO
from dicom_io.inbox.spool import Spool
from dicom_io.inbox.store import Store
from dicom_io.limits import MAX_FILE_BYTES
from dicom_io.reasons import Reason
from tests.support.objects import Made
from worker.batches.ingest import Ingester
from worker.batches.sources import Skip, Skipped, existing, walk
from worker.errors import UsageError
from worker.intake.filing import Filing, StudyClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom.dataset import Dataset

    from worker.database import Database

pytestmark = pytest.mark.integration


@pytest.fixture
def ingester(database: Database, tmp_path: Path) -> Ingester:
    return ingester_with(Spool(tmp_path / "spool"), database, tmp_path)


def ingester_with(spool: Spool, database: Database, folder: Path) -> Ingester:
    return Ingester(spool, Filing(database.sessions, Store(folder / "store"), StudyClock(1000, 60_000)))


def turned(ingester: Ingester) -> list[tuple[str, Reason]]:
    """The last part of each name, and why."""
    return [(item.path.rpartition("/")[2], item.reason) for item in ingester.intake.turned]


def test_loops_pipes_hidden_files_and_endless_paths_do_not_stop_a_walk(tmp_path: Path) -> None:
    film = Made().write(tmp_path / "film.dcm")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / ".hidden").mkdir()
    Made().write(tmp_path / ".hidden" / "film.dcm")
    os.mkfifo(tmp_path / "pipe")
    odd = tmp_path / os.fsdecode(b"cote\xe9\x1b[31m.dcm")
    odd.write_bytes(b"x")
    # a folder whose path is longer than the system takes cannot be read by anybody
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 240, dir_fd=descriptor)
        below = os.open("d" * 240, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    skipped = Skipped()
    found = [item.path for item in walk(existing([tmp_path]), skipped)]
    unreadable = [path for path in found if not path.name.endswith(".dcm")]
    assert [path for path in found if path not in unreadable] == [odd, film]
    gone, endless = sorted(unreadable, key=lambda path: len(str(path)))
    assert gone.name == "gone"
    assert len(str(endless)) > 4000
    assert skipped.counts == {Skip.LINKED_FOLDER: 1, Skip.HOUSEKEEPING: 1, Skip.SPECIAL: 1}


def test_a_folder_deeper_than_python_recurses_is_walked(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(1500):
        deep /= "d"
        deep.mkdir()
    (deep / "x").write_bytes(b"x")
    assert [item.path for item in walk([tmp_path])] == [deep / "x"]
    while deep != tmp_path:
        for file in deep.iterdir():
            file.unlink() if file.is_file() else file.rmdir()
        deep = deep.parent


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        *[(kind, "neither file nor folder") for kind in ("pipe", "device", "loop")],
        *[(kind, "no such file or folder") for kind in ("missing", "too long")],
    ],
)
def test_a_named_path_that_is_no_file_or_folder_is_refused_at_once(kind: str, said: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    paths = {"device": "/dev/zero", "too long": "x" * 300}
    with pytest.raises(UsageError, match=said):
        existing([tmp_path / paths.get(kind, kind)])


def test_a_folder_that_cannot_be_read_is_turned_away_by_name(ingester: Ingester, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    ingester.take(folder)
    assert turned(ingester) == [("folder", Reason.UNREADABLE)]


def test_the_members_of_an_archive_are_taken_or_named_one_by_one(ingester: Ingester, tmp_path: Path) -> None:
    good, escaping, second = Made(), Made(), Made()
    archive = tmp_path / "films.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, made in (("good.dcm", good), ("../../escaped.dcm", escaping), ("/etc/third.dcm", second)):
            file.writestr(name, made.write(tmp_path / "made").read_bytes())
        file.writestr("damaged.dcm", Made().write(tmp_path / "made").read_bytes())
        file.writestr("nested.zip", archive.read_bytes())
        file.writestr("page.dcm", b"<html><script>alert(1)</script></html>" * 100)
        file.writestr("empty.dcm", b"")
        file.writestr("shrunk.dcm", Made().write(tmp_path / "made").read_bytes(), zipfile.ZIP_LZMA)
        file.writestr("last.dcm", Made().write(tmp_path / "made").read_bytes())
        damaged = file.getinfo("damaged.dcm")
    content = bytearray(archive.read_bytes())
    at = damaged.header_offset + 30 + len(damaged.filename) + damaged.compress_size // 2
    content[at : at + 8] = b"\xff" * 8
    archive.write_bytes(content)
    ingester.take(archive)
    assert ingester.intake.registered == 4
    assert dict(turned(ingester)) == {
        "films.zip!damaged.dcm": Reason.UNREADABLE,
        "films.zip!nested.zip": Reason.NOT_DICOM,
        "films.zip!page.dcm": Reason.NOT_DICOM,
        "films.zip!empty.dcm": Reason.NOT_DICOM,
        "films.zip!shrunk.dcm": Reason.UNREADABLE,
    }
    assert not any((folder / "escaped.dcm").exists() for folder in (tmp_path, *tmp_path.parents, *Path.cwd().parents))


def _zip_of(members: list[tuple[bytes, bytes, int, int]], flags: int = 0) -> bytes:
    """An archive by hand: name, deflated data, claimed size, CRC; zipfile writes no lies."""
    body, directory = b"", b""
    for name, data, size, crc in members:
        common = struct.pack("<HHHHHLLLHH", 20, flags, 8, 0, 33, crc, len(data), size, len(name), 0)
        directory += (
            b"PK\x01\x02" + struct.pack("<H", 20) + common + struct.pack("<HHHLL", 0, 0, 0, 0, len(body)) + name
        )
        body += b"PK\x03\x04" + common + name + data
    end = struct.pack("<HHHHLLH", 0, 0, len(members), len(members), len(directory), len(body), 0)
    return body + directory + b"PK\x05\x06" + end


def _deflated(data: bytes) -> bytes:
    machine = zlib.compressobj(9, zlib.DEFLATED, -15)
    return machine.compress(data) + machine.flush()


def test_a_bomb_unpacks_in_proportion_to_what_was_sent(ingester: Ingester, tmp_path: Path) -> None:
    size = 64 << 20
    zeros, crc = _deflated(bytes(size)), zlib.crc32(bytes(size))
    film = Made().write(tmp_path / "made").read_bytes()
    gigabytes = [(f"{number}.dcm".encode(), zeros, size, crc) for number in range(160)]
    bomb = tmp_path / "bomb.zip"
    bomb.write_bytes(
        _zip_of([(b"huge", zeros, 0xFFFFFFF0, 0), (b"f", _deflated(film), len(film), zlib.crc32(film)), *gigabytes])
    )
    assert bomb.stat().st_size < 11 << 20
    ingester.take(bomb)
    reasons = [reason for _, reason in turned(ingester)]
    unpacked = reasons.count(Reason.NOT_DICOM)
    assert 10 < unpacked <= MAX_RATIO * bomb.stat().st_size // size
    assert reasons.count(Reason.TOO_LARGE) == 161 - unpacked
    assert ingester.intake.registered == 1


def test_a_member_that_claims_less_than_it_unpacks_to_is_unreadable(ingester: Ingester, tmp_path: Path) -> None:
    film = Made().write(tmp_path / "made").read_bytes()
    liar = tmp_path / "liar.zip"
    liar.write_bytes(
        _zip_of([(b"a", _deflated(film), 500, zlib.crc32(film)), (b"b", _deflated(film), len(film), zlib.crc32(film))])
    )
    ingester.take(liar)
    assert (turned(ingester), ingester.intake.registered) == ([("liar.zip!a", Reason.UNREADABLE)], 1)


@pytest.mark.parametrize(
    ("flags", "name", "reason"),
    [
        (0x1, b"secret.dcm", Reason.UNREADABLE),
        # bit 11 promises UTF-8
        (0x800, b"\xff\xfe.dcm", Reason.UNREADABLE),
    ],
)
def test_encrypted_members_and_false_names_are_unreadable(
    flags: int, name: bytes, reason: Reason, ingester: Ingester, tmp_path: Path
) -> None:
    film = Made().write(tmp_path / "made").read_bytes()
    archive = tmp_path / "odd.zip"
    archive.write_bytes(_zip_of([(name, _deflated(film), len(film), zlib.crc32(film))], flags))
    ingester.take(archive)
    assert [why for _, why in turned(ingester)] == [reason]


def test_a_name_in_an_old_code_page_is_taken(ingester: Ingester, tmp_path: Path) -> None:
    film = Made().write(tmp_path / "made").read_bytes()
    archive = tmp_path / "old.zip"
    archive.write_bytes(_zip_of([(b"Br\x81cke\0\x1b.dcm", _deflated(film), len(film), zlib.crc32(film))]))
    ingester.take(archive)
    assert ingester.intake.registered == 1


@pytest.mark.parametrize("content", [b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"PK\x03\x04" + bytes(4000)])
def test_what_only_begins_like_an_archive_is_unreadable_or_empty(
    content: bytes, ingester: Ingester, tmp_path: Path
) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    ingester.take(path)
    assert turned(ingester) in ([("x.zip", Reason.UNREADABLE)], [])
    assert ingester.intake.registered == 0


def test_a_film_that_ends_like_an_archive_is_a_film(ingester: Ingester, tmp_path: Path) -> None:
    archive = tmp_path / "tail.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("x", b"y")
    path = Made().write(tmp_path / "film.dcm")
    path.write_bytes(path.read_bytes() + archive.read_bytes())
    assert zipfile.is_zipfile(path)
    ingester.take(path)
    assert (turned(ingester), ingester.intake.registered) == ([], 1)


class ChangingSource(Spool):
    """A spool before which the file becomes another, after it was looked at."""

    def put_file(self, path: Path) -> str:
        path.write_bytes(b"no film any more")
        return super().put_file(path)


def test_a_file_that_changes_while_it_is_read_is_turned_away(database: Database, tmp_path: Path) -> None:
    ingester = ingester_with(ChangingSource(tmp_path / "spool"), database, tmp_path)
    ingester.take(Made().write(tmp_path / "film.dcm"))
    assert (turned(ingester), ingester.intake.registered) == ([("film.dcm", Reason.NOT_DICOM)], 0)
    assert Spool(tmp_path / "spool").keys() == []


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """The paths that are opened while the test runs."""
    paths: list[str] = []
    is_on = True

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        # With an opener two events are raised; that of `os.open` has no mode.
        if event == "open" and is_on and arguments[1] is not None:
            paths.append(str(arguments[0]))

    # Python has no way to take an audit hook out again.
    sys.addaudithook(hook)
    yield paths
    is_on = False


def test_a_file_is_copied_in_one_pass_and_its_header_is_parsed_once(
    ingester: Ingester, tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[BinaryIO] = []

    def counted(file: BinaryIO, *arguments: Any, **options: Any) -> Dataset:
        parsed.append(file)
        return part10.parse(file, *arguments, **options)

    monkeypatch.setattr(reader, "parse", counted)
    film = Made().write(tmp_path / "film.dcm")
    with zipfile.ZipFile(tmp_path / "films.zip", "w") as archive:
        archive.writestr("b.dcm", Made().write(tmp_path / "b.dcm").read_bytes())
    opened.clear()
    ingester.take(film)
    # Its first bytes, which say what it is, and its copy; the copy is read once, header and digests in one pass.
    assert opened.count(str(film)) == 2
    assert len([path for path in opened if "/spool/new/" in path]) == 1
    assert len(parsed) == 1
    ingester.take(tmp_path / "films.zip")
    assert len(parsed) == 2
    assert (turned(ingester), ingester.intake.registered) == ([], 2)


def test_a_file_larger_than_any_film_is_not_copied(ingester: Ingester, tmp_path: Path) -> None:
    path = Made().write(tmp_path / "film.dcm")
    os.truncate(path, MAX_FILE_BYTES + 1)
    ingester.take(path)
    assert turned(ingester) == [("film.dcm", Reason.TOO_LARGE)]


def test_the_worst_header_becomes_rows(ingester: Ingester, database: Database, tmp_path: Path) -> None:
    script = b"<script>alert(1)</script>'); DROP TABLE study;--\0\x1b[31m"
    changes = {
        tag: (vr, value)
        for tag, vr, value in (
            (0x00080005, b"CS", b"ISO_IR 192\0"),
            (0x00080050, b"SH", script * 20),
            (0x00081030, b"LO", b"\xed\xa0\x80\xff\xfe" + script * 500),
            (0x0008103E, b"LO", "\u202e\ufffe\0".encode() * 300),
            (0x00080070, b"LO", b"\0" * 600),
            (0x00100010, b"PN", b"\x1b$B" + script * 300),
            (0x00100020, b"LO", "\U0001f600".encode() * 900),
            (0x00100030, b"DA", b"20231399"),
            (0x00101010, b"AS", b"999999Y"),
            (0x00280008, b"IS", b"9" * 60_000),
            (0x00280010, b"IS", b"1e999"),
            (0x00280011, b"DS", b"NaN"),
            (0x00280101, b"IS", b"-9223372036854775809"),
            (0x00080060, b"CS", b"C\0R"),
            (0x00180015, b"CS", b"\\\\\\" * 4000),
        )
    }
    ingester.take(Made(changes=changes).write(tmp_path / "film.dcm"))
    assert (turned(ingester), ingester.intake.registered) == ([], 1)
    with database.reads() as session:
        name, number, rows = session.execute(
            text("SELECT s.patient_name, s.accession_number, i.rows FROM study s JOIN image i ON i.study_id = s.id")
        ).one()
    assert not {"\0", "\x1b"} & set(name + number)
    assert number.startswith("<script>alert(1)</script>'); DROP TABLE study;--[31m")
    assert len(number) == 64
    assert rows in (0, None)


def test_texts_longer_than_their_columns_are_cut_and_cost_no_study(
    ingester: Ingester, database: Database, tmp_path: Path
) -> None:
    tags = (0x00081030, 0x0008103E, 0x00080070, 0x00100010, 0x00100020, 0x00080050, 0x00180015, 0x00185101, 0x00080060)
    ingester.take(Made(changes=dict.fromkeys(tags, (b"LO", b"x" * 900))).write(tmp_path / "film.dcm"))
    assert (turned(ingester), ingester.intake.registered) == ([], 1)
    with database.reads() as session:
        (study,) = session.execute(text("SELECT * FROM study")).mappings()
    lengths = {
        name: len(study[name]) for name in ("patient_name", "patient_id", "accession_number", "study_description")
    }
    assert lengths == {"patient_name": 320, "patient_id": 64, "accession_number": 64, "study_description": 255}


#: Let PostgreSQL refuse a description as it refuses a text that is longer than its column.
ONLY_SHORT = (
    (
        "CREATE FUNCTION only_short() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION USING ERRCODE = 'string_data_right_truncation'; END $$"
    ),
    (
        "CREATE TRIGGER only_short BEFORE INSERT OR UPDATE ON study FOR EACH ROW "
        "WHEN (length(NEW.study_description) > 3) EXECUTE FUNCTION only_short()"
    ),
)


@pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)
def test_an_object_the_database_does_not_take_is_set_aside_and_the_next_one_registered(
    ingester: Ingester, database: Database, tmp_path: Path
) -> None:
    with database.sessions.begin() as session:
        for statement in ONLY_SHORT:
            session.execute(text(statement))
    described = Made(changes={0x00081030: (b"LO", b"chest")}).write(tmp_path / "described.dcm")
    ingester.take(described)
    ingester.take(Made().write(tmp_path / "plain.dcm"))
    assert turned(ingester) == [("described.dcm", Reason.REGISTRATION_FAILED)]
    assert ingester.intake.registered == 1
    assert Spool(tmp_path / "spool").keys() == []
