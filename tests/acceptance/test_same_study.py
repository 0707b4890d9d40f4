"""The same study again and again: by several associations, in other orders, late, changed, and by folder as well."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from pydicom import dcmread

from dicom_io.client.send import send
from tests.support.films import film, save
from tests.support.listening import association_to, store
from tests.support.redis_server import own_redis
from tests.support.running import TERMINAL
from tests.support.sites import LOCAL, PROPOSE, make_study, new_site, new_stack, picture, push
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.peers import Peers
    from tests.support.running import Running, Site

pytest_plugins = ["tests.support.peers"]
pytestmark = pytest.mark.acceptance

EXPLICIT_LE = "1.2.840.10008.1.2.1"
DX = "1.2.840.10008.5.1.4.1.1.1.1"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def stack(request: pytest.FixtureRequest) -> Iterator[Running]:
    """``auscult up`` on its embedded default, and on a PostgreSQL and a Redis of its own."""
    if request.param == "sqlite":
        with new_stack() as running:
            yield running
        return
    server = request.getfixturevalue("postgres_server")
    url = server.create_database()
    with own_redis() as redis, new_site(database_url=url, broker_url=redis.url) as site:
        site.run("migrate")
        with site.running("up") as running:
            yield running
    server.drop_database(url)


def finished(site: Site, study_uid: str, revision: int = 1) -> Mapping[str, Any]:
    """The study's row in the worklist, once this revision of it is terminal."""

    def row() -> Mapping[str, Any] | None:
        found = site.query(
            "SELECT * FROM worklist WHERE study_uid = :uid AND revision >= :revision", uid=study_uid, revision=revision
        )
        return found[0] if found and found[0]["ai_status"] in TERMINAL else None

    return wait_until(row, 60, f"revision {revision} of {study_uid} to be terminal")


def images_of(site: Site, study_uid: str) -> list[Mapping[str, Any]]:
    """Every version of every image of a study, in the order of arrival, with how many tasks and results it has."""
    return site.query(
        "SELECT image.*, (SELECT count(*) FROM task WHERE task.image_id = image.id) AS tasks,"
        " (SELECT count(*) FROM result WHERE result.image_id = image.id) AS results"
        " FROM image JOIN study ON study.id = image.study_id WHERE study_uid = :uid ORDER BY image.id",
        uid=study_uid,
    )


def is_stored(site: Site, image: Mapping[str, Any]) -> bool:
    """Whether the store still has the image's original, under the key of its row."""
    return len(list((site.home / "store").rglob(f"{image['store_key']}.dcm"))) == 1


def settled_counts(site: Site, study_uid: str, arrivals: int) -> list[Mapping[str, Any]]:
    """The study's images once the database has counted so many arrivals."""

    def images() -> list[Mapping[str, Any]] | None:
        rows = images_of(site, study_uid)
        return rows if sum(row["rx_count"] for row in rows) >= arrivals else None

    return wait_until(images, 60, f"{arrivals} arrivals to be counted")


def test_four_associations_at_once_in_either_order_make_one_study_with_one_result_an_image(
    stack: Running, dcmtk: Peers, tmp_path: Path
) -> None:
    study = make_study(tmp_path, films=6)
    orders = [study.files, study.files[::-1], study.files, study.files[::-1]]
    arguments = (PROPOSE[EXPLICIT_LE], "-R", "-aec", "AUSCULT", LOCAL, stack.port)
    senders = [dcmtk.start("storescu", *arguments, *files) for files in orders]
    assert [sender.wait(60) for sender in senders] == [0, 0, 0, 0]
    for sender in senders:
        assert sender.stdout is not None
        sender.stdout.close()
    images = settled_counts(stack.site, study.uid, 24)
    row = finished(stack.site, study.uid)
    assert [image["rx_count"] for image in images] == [4] * 6
    assert (row["ai_status"], row["n_images"], row["n_scored"], row["revision"]) == ("FINAL", 6, 6, 1)
    images = images_of(stack.site, study.uid)
    assert {image["sop_uid"] for image in images} == {path.stem for path in study.files}
    assert [(image["tasks"], image["results"]) for image in images] == [(1, 1)] * 6
    assert all(is_stored(stack.site, image) for image in images)
    spool = stack.site.home / "spool"
    wait_until(lambda: not any((spool / "new").iterdir()), 30, "the spool to be empty")


def test_other_bytes_under_the_same_uid_are_kept_beside_the_first_and_count_as_a_new_revision(
    stack: Running, dcmtk: Peers, tmp_path: Path
) -> None:
    study = make_study(tmp_path)
    push(dcmtk, stack.port, study.files)
    first = finished(stack.site, study.uid)
    changed = dcmread(study.files[0])
    changed.PixelData = picture(77).tobytes()
    changed.save_as(study.files[0])
    push(dcmtk, stack.port, study.files)
    second = finished(stack.site, study.uid, revision=2)
    older, newer = images_of(stack.site, study.uid)
    assert (first["revision"], second["revision"]) == (1, 2)
    assert older["sop_uid"] == newer["sop_uid"]
    assert older["sha256"] != newer["sha256"]
    assert (bool(older["is_current"]), bool(newer["is_current"])) == (False, True)
    assert is_stored(stack.site, older)
    assert is_stored(stack.site, newer)
    assert (older["results"], newer["results"]) == (1, 1)
    assert (second["ai_status"], second["n_images"]) == ("FINAL", 1)
    assert second["probability"] == _probability(stack.site, newer)


def _probability(site: Site, image: Mapping[str, Any]) -> float:
    (row,) = site.query("SELECT probability FROM result WHERE image_id = :id AND is_current", id=image["id"])
    return float(row["probability"])


def test_a_late_image_of_a_final_study_brings_it_back_until_both_images_are_judged(
    stack: Running, dcmtk: Peers, tmp_path: Path
) -> None:
    study = make_study(tmp_path, films=2)
    push(dcmtk, stack.port, study.files[:1])
    assert finished(stack.site, study.uid)["ai_status"] == "FINAL"
    with association_to(stack.port, (DX, [EXPLICIT_LE])) as association:
        assert store(association, study.files[1]) == (0, "")
        # While the association is open more may come: the study may not be final, whatever is judged already.
        waiting = wait_until(
            lambda: stack.site.query(
                "SELECT * FROM worklist WHERE study_uid = :uid AND revision = 2 AND n_scored = 2", uid=study.uid
            ),
            60,
            "the late image to be judged",
        )
        assert waiting[0]["ai_status"] == "PROVISIONAL"
        assert waiting[0]["label"] != "NORMAL"
    row = finished(stack.site, study.uid, revision=2)
    assert (row["ai_status"], row["revision"], row["n_images"], row["n_scored"]) == ("FINAL", 2, 2, 2)
    assert row["label"] is not None


@pytest.mark.parametrize("first", ["push", "ingest"])
def test_push_and_ingest_of_the_same_study_make_one_image_each(
    stack: Running, dcmtk: Peers, tmp_path: Path, first: str
) -> None:
    study = make_study(tmp_path, films=2)
    ways = {
        "push": lambda: push(dcmtk, stack.port, study.files),
        "ingest": lambda: stack.site.json("ingest", tmp_path),
    }
    order = [first, *(way for way in ways if way != first)]
    for way in order:
        ways[way]()
        row = finished(stack.site, study.uid)
    images = settled_counts(stack.site, study.uid, 4)
    assert [(image["rx_count"], image["tasks"], image["results"]) for image in images] == [(2, 1, 1)] * 2
    assert all(is_stored(stack.site, image) for image in images)
    assert (row["ai_status"], row["revision"], row["n_images"]) == ("FINAL", 1, 2)


def test_the_same_object_by_ingest_twice_is_counted_and_no_new_work(stack: Running, tmp_path: Path) -> None:
    study = make_study(tmp_path)
    first = stack.site.json("ingest", tmp_path)
    shutil.copy(study.files[0], tmp_path / "copy.dcm")
    second = stack.site.json("ingest", tmp_path)
    (image,) = images_of(stack.site, study.uid)
    assert (first["registered"], first["duplicates"]) == (1, 0)
    assert (second["registered"], second["duplicates"]) == (2, 2)
    assert (image["rx_count"], image["tasks"], image["results"]) == (3, 1, 1)
    assert is_stored(stack.site, image)


def test_versions_that_come_before_the_study_is_complete_leave_the_newest_one_current(
    stack: Running, tmp_path: Path
) -> None:
    uid = make_study(tmp_path).uid
    versions = [
        save(film(picture(seed), StudyInstanceUID=uid, SOPInstanceUID=f"{uid}.7"), tmp_path, f"{seed}.dcm")
        for seed in range(3)
    ]
    for path in versions:
        made = dcmread(path)
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
        made.save_as(path)
    assert [result.status for result in send(versions, LOCAL, stack.port)] == [0, 0, 0]
    row = finished(stack.site, uid, revision=3)
    images = images_of(stack.site, uid)
    assert [bool(image["is_current"]) for image in images] == [False, False, True]
    assert (row["ai_status"], row["n_images"], row["revision"]) == ("FINAL", 1, 3)
    assert all(is_stored(stack.site, image) for image in images)
