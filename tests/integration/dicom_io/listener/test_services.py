"""What the listener does for a well-behaved peer: C-ECHO, C-STORE of every class and coding, bytes kept as they came."""

from __future__ import annotations

import hashlib
import ipaddress
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from pydicom import dcmread
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ModalityPerformedProcedureStep,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from dicom_io.client.send import send
from dicom_io.header.digests import dataset_sha256
from dicom_io.header.file_meta import IMPLEMENTATION_CLASS_UID
from dicom_io.header.reader import read_facts
from tests.support.listening import LOCAL, Recorder, Tap, answers, association_to, listening, store_made
from tests.support.objects import CR, EXPLICIT_LE, Made
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dicom_io.inbox.spool import Spool
    from tests.support.peers import Peers

pytest_plugins = ["tests.support.peers"]
pytestmark = pytest.mark.integration

IMPLICIT_LE = "1.2.840.10008.1.2"
J2K_LOSSLESS, MPEG2, JPEG_XL = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.112"
#: storescu's option that proposes a transfer syntax; it has none for the others.
STORESCU = {
    IMPLICIT_LE: "-xi",
    EXPLICIT_LE: "-xe",
    "1.2.840.10008.1.2.2": "-xb",
    "1.2.840.10008.1.2.1.99": "-xd",
    "1.2.840.10008.1.2.4.50": "-xy",
    "1.2.840.10008.1.2.4.51": "-xx",
    "1.2.840.10008.1.2.4.70": "-xs",
    "1.2.840.10008.1.2.4.80": "-xt",
    "1.2.840.10008.1.2.4.81": "-xu",
    J2K_LOSSLESS: "-xv",
    "1.2.840.10008.1.2.4.91": "-xw",
    "1.2.840.10008.1.2.5": "-xr",
}
WITHOUT_OPTION = ("1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.8.1")


@pytest.fixture(scope="module")
def by_transfer_syntax(test_data: Path) -> dict[str, list[Path]]:
    """The objects of the test data that a listener must take, by transfer syntax."""
    found: dict[str, list[Path]] = {}
    for path in sorted((test_data / "dicom").rglob("*.dcm")):
        if "malformed_or_headless" in path.parts:
            continue
        facts = read_facts(path)
        if facts.study_uid and facts.series_uid and facts.sop_uid and facts.sop_class_uid:
            found.setdefault(facts.transfer_syntax_uid, []).append(path)
    return found


def sha256_of_spooled(spool: Spool) -> list[str]:
    keys = spool.keys()
    return [dataset_sha256(spool.path(key)) for key in keys]


def test_echo_is_answered(tmp_path: Path, dcmtk: Peers) -> None:
    with listening(tmp_path) as served:
        done = dcmtk.run("echoscu", "-v", LOCAL, served.port)
        assert done.returncode == 0, done.stderr
        assert "Success" in done.stdout + done.stderr
        assert answers(served.port)


@pytest.mark.data
@pytest.mark.parametrize("transfer_syntax", STORESCU)
def test_bytes_from_dcmtk_are_kept_as_they_came(
    transfer_syntax: str, by_transfer_syntax: dict[str, list[Path]], tmp_path: Path, dcmtk: Peers
) -> None:
    with listening(tmp_path) as served:
        tap = Tap(served.port)
        path = min(by_transfer_syntax[transfer_syntax], key=lambda file: file.stat().st_size)
        done = dcmtk.run("storescu", STORESCU[transfer_syntax], LOCAL, tap.port, path)
        tap.close()
        assert done.returncode == 0, done.stderr
        # storescu encodes anew, so the file is no measure; what went over the wire is.
        assert sha256_of_spooled(served.spool) == [hashlib.sha256(tap.dataset()).hexdigest()]
        (key,) = served.spool.keys()
        assert read_facts(served.spool.path(key)).transfer_syntax_uid == transfer_syntax


@pytest.mark.data
@pytest.mark.parametrize("transfer_syntax", [*STORESCU, *WITHOUT_OPTION])
def test_files_arrive_with_the_bytes_they_have(
    transfer_syntax: str, by_transfer_syntax: dict[str, list[Path]], tmp_path: Path
) -> None:
    with listening(tmp_path) as served:
        files = by_transfer_syntax[transfer_syntax]
        assert [result.status for result in send(files, LOCAL, served.port)] == [0] * len(files)
        assert sha256_of_spooled(served.spool) == [dataset_sha256(path) for path in files]


@pytest.mark.data
def test_every_transfer_syntax_of_the_test_data_is_covered(by_transfer_syntax: dict[str, list[Path]]) -> None:
    assert set(by_transfer_syntax) == {*STORESCU, *WITHOUT_OPTION}


@pytest.mark.data
def test_nothing_in_the_test_data_harms_the_listener(test_data: Path, tmp_path: Path) -> None:
    files = [path for path in (test_data / "dicom").rglob("*") if path.is_file() and path.suffix not in (".md", ".tsv")]
    with listening(tmp_path) as served:
        results = send(files, LOCAL, served.port)
        assert len(served.spool.keys()) == sum(result.status == 0 for result in results) >= 250
        assert {result.status for result in results if result.problem is None} <= {0x0000, 0xC211}
        assert answers(served.port)


def test_four_associations_at_once_lose_nothing(tmp_path: Path, dcmtk: Peers) -> None:
    folders = [tmp_path / f"sender{number}" for number in range(4)]
    made = {folder: [Made() for _ in range(10)] for folder in folders}
    for folder, objects in made.items():
        folder.mkdir()
        for one in objects:
            one.write(folder / f"{one.sop_uid}.dcm")
    with listening(tmp_path / "spool") as served, ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda folder: dcmtk.run("storescu", "+sd", LOCAL, served.port, folder), folders))
        assert [one.returncode for one in done] == [0] * 4, done
        keys = served.spool.keys()
        kept = {read_facts(served.spool.path(key)).sop_uid for key in keys}
        assert kept == {one.sop_uid for objects in made.values() for one in objects}
        wait_until(lambda: len(served.told.closed) == 4, what="four associations to close")
    assert sorted(served.told.closed) == [(1, True), (2, True), (3, True), (4, True)]


def test_file_meta_information_tells_who_sent_the_object(tmp_path: Path) -> None:
    made = Made()
    with listening(tmp_path / "spool", ae_title="HERE") as served:
        assert store_made(served.port, tmp_path, made)[0] == 0
        (key,) = served.spool.keys()
        meta = dcmread(served.spool.path(key)).file_meta
    assert meta.MediaStorageSOPClassUID == made.sop_class_uid
    assert meta.MediaStorageSOPInstanceUID == made.sop_uid
    assert meta.TransferSyntaxUID == made.transfer_syntax_uid
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.SourceApplicationEntityTitle == meta.SendingApplicationEntityTitle == "TESTSCU"
    assert meta.ReceivingApplicationEntityTitle == "HERE"
    assert meta.SourcePresentationAddress == meta.SendingPresentationAddress == "dicom://127.0.0.1"


@pytest.mark.parametrize(
    "sop_class_uid",
    [
        pytest.param("1.2.826.0.1.3680043.10.1234.99.1", id="private"),
        pytest.param("1.2.840.10008.5.1.4.1.1.999.1", id="unknown to pynetdicom"),
        pytest.param("1.2.840.10008.5.1.4.1.1.11.1", id="presentation state"),
        pytest.param("1.2.840.10008.5.1.4.1.1.88.59", id="key object"),
        pytest.param("1.2.840.10008.5.1.4.1.1.88.67", id="dose report"),
        pytest.param("1.2.840.10008.5.1.4.1.1.8", id="retired overlay"),
    ],
)
def test_every_storage_class_is_taken(sop_class_uid: str, tmp_path: Path) -> None:
    with listening(tmp_path / "spool") as served:
        assert store_made(served.port, tmp_path, Made(sop_class_uid=sop_class_uid)) == (0, "")
        assert len(served.spool.keys()) == 1


def test_a_study_with_more_kinds_than_contexts_is_taken(tmp_path: Path) -> None:
    files = [
        Made(sop_class_uid=f"1.2.826.0.1.3680043.10.1234.98.{n}").write(tmp_path / f"{n}.dcm") for n in range(1, 141)
    ]
    progress: list[int] = []
    with listening(tmp_path / "spool") as served:
        results = send(files, LOCAL, served.port, on_progress=progress.append)
        assert {result.status for result in results} == {0}
        assert [result.path for result in results] == files
        # On a busy machine an association may break, and its last object is sent again.
        keys = served.spool.keys()
        kinds = {read_facts(served.spool.path(key)).sop_class_uid for key in keys}
        assert len(kinds) == 140
        wait_until(lambda: len(served.told.closed) >= 2, what="two associations to close")
    assert progress == list(range(1, 141))


@pytest.mark.parametrize(
    ("proposed", "accepted"),
    [
        pytest.param([JPEG_XL, J2K_LOSSLESS, IMPLICIT_LE, EXPLICIT_LE], EXPLICIT_LE, id="uncompressed before all"),
        pytest.param([MPEG2, "1.2.840.10008.1.2.4.91", J2K_LOSSLESS], J2K_LOSSLESS, id="lossless before lossy"),
        pytest.param(["1.2.826.0.1.3680043.10.1234.97", JPEG_XL], "1.2.826.0.1.3680043.10.1234.97", id="as proposed"),
        pytest.param([JPEG_XL], JPEG_XL, id="undecodable is kept rather than refused"),
    ],
)
def test_transfer_syntax_is_steered(proposed: list[str], accepted: str, tmp_path: Path) -> None:
    with listening(tmp_path) as served, association_to(served.port, (CR, proposed)) as association:
        (context,) = association.accepted_contexts
        assert context.transfer_syntax == [accepted]


def test_each_context_of_one_class_gets_its_own_transfer_syntax(tmp_path: Path) -> None:
    wanted = [IMPLICIT_LE, JPEG_XL, J2K_LOSSLESS]
    contexts = [(CR, [uid]) for uid in wanted]
    with listening(tmp_path) as served, association_to(served.port, *contexts) as association:
        assert [context.transfer_syntax[0] for context in association.accepted_contexts] == wanted


def test_other_services_are_not_offered(tmp_path: Path) -> None:
    services = [
        StudyRootQueryRetrieveInformationModelFind,
        ModalityPerformedProcedureStep,
        "1.2.840.10008.1.3.10",
    ]
    contexts = [(str(uid), [IMPLICIT_LE]) for uid in (Verification, *services)]
    with listening(tmp_path) as served, association_to(served.port, *contexts) as association:
        assert [context.abstract_syntax for context in association.accepted_contexts] == [Verification]


def test_open_studies_are_those_of_open_associations(tmp_path: Path) -> None:
    made = Made()
    with listening(tmp_path / "spool") as served:
        with association_to(served.port, (CR, [EXPLICIT_LE])) as association:
            association.send_c_store(made.write(tmp_path / "object.dcm"))
            assert served.listener.open_studies() == {made.study_uid}
            assert served.told.instances == [(served.spool.keys()[0], made.study_uid, 1)]
        wait_until(lambda: served.told.closed == [(1, True)], what="the association to close")
        assert served.listener.open_studies() == frozenset()


def test_an_abort_is_told_as_one(tmp_path: Path) -> None:
    with listening(tmp_path) as served, association_to(served.port, (CR, [EXPLICIT_LE])) as association:
        association.abort()
        wait_until(lambda: served.told.closed == [(1, False)], what="the association to close")


class Failing(Recorder):
    def on_instance(self, key: str, study_uid: str, association: int) -> None:
        super().on_instance(key, study_uid, association)
        raise RuntimeError("Doe^Jane")


def test_a_failing_callback_does_not_reach_the_sender(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told = Failing()
    with listening(tmp_path / "spool", told=told) as served:
        assert store_made(served.port, tmp_path, Made()) == (0, "")
        assert [key for key, _, _ in told.instances] == served.spool.keys()
    (failure,) = [record for record in caplog.records if getattr(record, "action", "") == "callback_failed"]
    assert failure.__dict__["error"] == "RuntimeError"
    assert "Doe" not in str(failure.__dict__)


def test_a_peer_is_known_by_its_ipv4_address_on_a_listener_for_both(tmp_path: Path) -> None:
    networks = (ipaddress.ip_network("127.0.0.0/8"),)
    with listening(tmp_path / "spool", host="::", allowed_hosts=networks) as served:
        assert store_made(served.port, tmp_path, Made())[0] == 0
        (key,) = served.spool.keys()
        assert dcmread(served.spool.path(key)).file_meta.SendingPresentationAddress == "dicom://127.0.0.1"


def test_two_listeners_share_a_spool(tmp_path: Path) -> None:
    with listening(tmp_path / "spool") as first, listening(tmp_path / "spool") as second:
        ports: Iterable[int] = (first.port, second.port)
        assert [store_made(port, tmp_path, Made())[0] for port in ports] == [0, 0]
        assert len(first.spool.keys()) == 2
