"""What an ingest takes of a folder as people have them: a patient's CD, links, pictures; nothing is left out silently."""

from __future__ import annotations

import os
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from dicom_io.reasons import Reason
from tests.support.films import ramp
from tests.support.objects import Made
from tests.support.sites import make_study
from worker.batches.ingest import Ingester, ingest
from worker.batches.sources import MEDIA_DIRECTORY, Kind, Skip, Skipped, gather
from worker.database import open_database
from worker.db.filing.registry import release_studies
from worker.db.read import queries
from worker.db.schema.states import StudyState
from worker.db.schema.study import Study
from worker.errors import UsageError
from worker.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sqlalchemy.orm import Session

    from worker.batches.ingest import Intake
    from worker.database import Database
    from worker.settings import Settings

pytestmark = pytest.mark.integration

#: Files of a patient's CD that are no films: a viewer, what it needs, and what systems leave behind.
VIEWER = {
    "README.TXT": b"Insert this disc",
    "autorun.inf": b"[autorun]",
    "VIEWER/VIEWER.EXE": b"MZ" + bytes(200),
    "VIEWER/index.html": b"<html>",
    "VIEWER/nothing": b"",
    "Thumbs.db": b"\xd0\xcf\x11\xe0" + bytes(600),
    "desktop.ini": b"[.ShellClassInfo]",
    ".DS_Store": b"\0\0\0\1Bud1" + bytes(200),
    "._IM000001": b"\0\5\x16\7" + bytes(200),
    "__MACOSX/._IM000001": b"\0\5\x16\7" + bytes(200),
    "System Volume Information/IndexerVolumeGuid": b"{}",
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path / "home")


@pytest.fixture
def opened(settings: Settings) -> Iterator[Database]:
    database = open_database(settings)
    yield database
    database.dispose()


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    """A patient's CD with two films."""
    root = tmp_path / "disc"
    for name, content in VIEWER.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / "IMAGES").mkdir()
    # their SOP class keeps the network out of it
    for name in ("IM000001", "IM000002"):
        Made(sop_class_uid="1.2.840.10008.5.1.4.1.1.2").write(root / "IMAGES" / name)
    directory = Made(sop_class_uid=MEDIA_DIRECTORY)
    directory.write(root / "DICOMDIR")
    directory.write(root / "INDEX")
    with zipfile.ZipFile(root / "VIEWER" / "viewer.jar", "w") as jar:
        jar.writestr("Main.class", b"\xca\xfe\xba\xbe")
    Image.fromarray(ramp(200, 200, dtype=np.uint8, top=255)).save(root / "VIEWER" / "logo.jpg")
    return root


@pytest.mark.parametrize("zipped", [False, True])
def test_a_patients_disc_is_taken_and_what_is_not_dicom_is_counted(
    zipped: bool, settings: Settings, opened: Database, disc: Path
) -> None:
    source = disc
    if zipped:
        source = disc.with_suffix(".zip")
        with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(disc.rglob("*")):
                archive.write(path, path.relative_to(disc))
    intake = ingest(settings, opened, [source])
    assert (intake.registered, intake.turned) == (2, [])
    # README.TXT, autorun.inf, VIEWER.EXE, index.html, the empty file; of the jar what is in it, or itself in an archive
    assert intake.skipped.counts[Skip.NOT_DICOM] == 6
    assert intake.skipped.counts[Skip.MEDIA_DIRECTORY] == 2
    assert intake.skipped.counts[Skip.PICTURE] == 1
    # a folder is one, but an archive has only the files in it
    assert intake.skipped.counts[Skip.HOUSEKEEPING] == 6
    assert any("README.TXT" in sentence for sentence in intake.skipped.sentences())


def test_what_is_named_or_says_that_it_is_a_film_is_turned_away(
    settings: Settings, opened: Database, disc: Path
) -> None:
    (disc / "IMAGES" / "broken.DCM").write_bytes(b"")
    (disc / "old.zip").write_bytes(b"no archive")
    named = [disc / "README.TXT", disc / "DICOMDIR", disc / "VIEWER" / "logo.jpg", disc / "VIEWER" / "viewer.jar"]
    intake = ingest(settings, opened, [disc, *named])
    assert intake.registered == 2
    turned = {item.path.rpartition("/")[2]: item for item in intake.turned}
    assert {name: item.reason for name, item in turned.items()} == {
        "README.TXT": Reason.NOT_DICOM,
        "DICOMDIR": Reason.NOT_A_RADIOGRAPH,
        "logo.jpg": Reason.NOT_DICOM,
        "viewer.jar": Reason.NOT_DICOM,
        "broken.DCM": Reason.NOT_DICOM,
        "old.zip": Reason.NOT_DICOM,
    }
    assert "--wrap" in turned["logo.jpg"].sentence
    assert "classify" in turned["logo.jpg"].sentence


@pytest.mark.parametrize("kind", ["empty", "viewer alone", "links to folders", "zip", "zip in zip"])
def test_where_nothing_is_found_the_command_says_so(
    kind: str, settings: Settings, opened: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    source = folder
    if kind == "viewer alone":
        (folder / "README.TXT").write_bytes(b"Insert this disc")
    if kind == "links to folders":
        (folder / "patient").symlink_to(tmp_path)
    if kind.startswith("zip"):
        source = tmp_path / "archive.zip"
        with zipfile.ZipFile(source, "w") as archive:
            archive.writestr("x.jar" if kind == "zip in zip" else "README.TXT", b"PK\x05\x06" + bytes(18))
    with pytest.raises(UsageError, match="no film in") as caught:
        ingest(settings, opened, [source])
    assert caught.value.exit_code == 2
    assert {"viewer alone": "README.TXT", "links to folders": "links to folders"}.get(kind, "") in str(caught.value)


def test_links_to_files_are_followed_each_file_once_and_the_rest_is_named(tmp_path: Path) -> None:
    films, links = tmp_path / "films", tmp_path / "links"
    films.mkdir()
    links.mkdir()
    Made().write(films / "film")
    (links / "a").symlink_to(films / "film")
    (links / "b").symlink_to(links / "a")
    (links / "c").symlink_to(films)
    (links / "gone").symlink_to(tmp_path / "nowhere")
    (links / "loop").symlink_to(links / "loop")
    (links / "device").symlink_to("/dev/zero")
    Made().write(links / "own")
    os.link(links / "own", links / "own too")
    skipped = Skipped()
    found = [item.path.name for item in gather([links], skipped, {Kind.DICOM})]
    # who opens a link to nothing finds out and says so; hard links are files like any others
    assert found == ["a", "gone", "loop", "own", "own too"]
    assert skipped.counts == {Skip.SEEN: 1, Skip.LINKED_FOLDER: 1, Skip.SPECIAL: 1}
    assert str(links / "c") in " ".join(skipped.sentences())


def test_no_study_is_complete_before_the_last_file_was_read(
    opened: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Beside it a listener settles what has had its quiet time.
    settings = load_settings(home=tmp_path / "home", quiet_s=0)
    (tmp_path / "films").mkdir()
    make_study(tmp_path / "films", films=2)
    seen: list[StudyState] = []

    def settled_before(session: Session, study_ids: Sequence[int], after_ms: int) -> None:
        queries.settle(session)
        seen.extend(session.execute(select(Study.state)).scalars())
        release_studies(session, study_ids, after_ms)

    monkeypatch.setattr("worker.batches.ingest.release_studies", settled_before)
    ingest(settings, opened, [tmp_path / "films"])
    assert seen == [StudyState.RECEIVING]
    with opened.sessions() as session:
        ((state, revision),) = session.execute(select(Study.state, Study.revision)).all()
    assert (state.is_terminal, revision) == (True, 1)


def test_an_interrupted_ingest_leaves_what_it_registered_to_a_quiet_time(
    opened: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings(home=tmp_path / "home", quiet_s=30, max_wait_s=900)
    (tmp_path / "films").mkdir()
    make_study(tmp_path / "films", films=2)
    real = Ingester.add

    def interrupted(ingester: Ingester, path: Path) -> None:
        if ingester.seen:
            raise KeyboardInterrupt
        real(ingester, path)

    monkeypatch.setattr(Ingester, "add", interrupted)
    monkeypatch.setattr("worker.batches.ingest.AT_ONCE", 1)
    with pytest.raises(KeyboardInterrupt):
        ingest(settings, opened, [tmp_path / "films"])
    with opened.sessions() as session:
        ((state, ready_ms, longest_ms),) = session.execute(
            select(Study.state, Study.ready_at_ms, Study.force_at_ms)
        ).all()
    assert state is StudyState.RECEIVING
    assert longest_ms - ready_ms > 800_000


def taken(settings: Settings, database: Database, source: Path) -> Intake:
    return ingest(settings, database, [source], wrap=True)


def test_pictures_are_wrapped_on_demand_and_the_same_one_is_a_duplicate(
    settings: Settings, opened: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(ramp(100, 100, dtype=np.uint8, top=255)).save(folder / "DOE_JANE.png")
    content = (folder / "DOE_JANE.png").read_bytes()
    (folder / "broken.png").write_bytes(content[: len(content) // 2])
    with zipfile.ZipFile(tmp_path / "again.zip", "w") as archive:
        archive.write(folder / "DOE_JANE.png", "other name.png")
    first = taken(settings, opened, folder)
    assert (first.registered, first.duplicates, len(first.tasks)) == (1, 0, 1)
    assert [(item.path.rpartition("/")[2], item.reason) for item in first.turned] == [
        ("broken.png", Reason.DECODE_FAILED)
    ]
    second = taken(settings, opened, tmp_path / "again.zip")
    assert (second.registered, second.duplicates, second.studies) == (1, 1, first.studies)
    assert [path for place in ("new", "tmp") for path in (settings.home / "ingest" / place).iterdir()] == []
