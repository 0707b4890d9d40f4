"""All 312 public DICOM files, pushed and ingested: each ends as its row of expected.tsv says, and nothing is left over.

A file is known by the digest of its data set, so that the five codings of one instance are told apart.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from dicom_io.client.send import SendProblem, SendResult, send
from dicom_io.errors import NotDicom
from dicom_io.header.reader import read_facts
from tests.support.collection import CANNOT_BE_SENT, SKIPPED, TURNED_AWAY, data_set_sha256, differences, expected
from tests.support.running import TERMINAL
from tests.support.sites import LOCAL, PROPOSE, answers_echo, make_study, new_site, pids, push
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.support.peers import Peers
    from tests.support.running import Running, Site

pytest_plugins = ["tests.support.peers"]
pytestmark = [pytest.mark.acceptance, pytest.mark.data, pytest.mark.timeout(400)]

FILES = 312
MIB = 1 << 20
#: What must never be judged: by the manifest's modality, or by the body part of a radiograph.
OTHER_MODALITIES = {"CT", "MR", "US", "NM", "PT", "SR", "SEG", "RTPLAN", "RTDOSE", "RTSTRUCT", "RTIMAGE", "KO", "PR"}
OTHER_PARTS = {"HIP", "EXTREMITY", "CSPINE"}


@dataclass(frozen=True, slots=True)
class Known:
    """A file of the collection and what the manifest knows of it, without any code of ours."""

    name: str
    path: Path
    modality: str
    body_part: str


@dataclass(frozen=True, slots=True)
class Ending:
    """How one image ended, and what read its pixels."""

    outcome: str
    reason: str
    decoder: str


@dataclass(frozen=True, slots=True)
class Held:
    """What a process holds."""

    name: str
    descriptors: int
    resident: int


@dataclass(frozen=True, slots=True)
class PushedAll:
    """What became of everything when it was pushed."""

    before: dict[int, str]
    after: dict[int, str]
    held_before: dict[int, Held]
    held_after: dict[int, Held]
    left_behind: list[str]
    answers_echo: bool
    next_film: Mapping[str, Any]
    results: Mapping[str, SendResult]
    endings: dict[str, Ending]
    quarantined: int


@dataclass(frozen=True, slots=True)
class IngestedAll:
    """What became of everything when it was ingested."""

    exit_code: int
    summary: Mapping[str, Any]
    endings: dict[str, Ending]


@pytest.fixture(scope="module")
def files(test_data: Path) -> list[Known]:
    folder = test_data / "dicom"
    head, *lines = (folder / "dicom_manifest.tsv").read_text(encoding="utf-8").splitlines()
    rows = [dict(zip(head.split("\t"), line.split("\t"), strict=False)) for line in lines]
    return [Known(row["local"], folder / row["local"], row["Modality"], row["BodyPartExamined"]) for row in rows]


@pytest.fixture(scope="module")
def digests(files: list[Known]) -> dict[str, str]:
    """The digest of each file that has a data set."""
    found = {}
    for known in files:
        try:
            found[known.name] = data_set_sha256(known.path)
        except NotDicom:
            continue
    return found


@pytest.fixture(scope="module")
def pushed(files: list[Known], dcmtk: Peers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PushedAll]:
    with new_site() as site, tempfile.TemporaryDirectory(prefix="auscult-scratch-", dir="/tmp") as scratch:
        site.env["TMPDIR"] = scratch
        with site.running("up") as stack:
            assert stack.port
            wait_until(lambda: site.query("SELECT id FROM worker"), 90, "the worker's heartbeat")
            # the first film loads what every further one uses
            _judged(dcmtk, stack, tmp_path_factory.mktemp("first"))
            before, held_before = pids(stack), _held(stack)
            results = _push_all(stack, dcmtk, files)
            _wait_idle(site)
            after, held_after = pids(stack), _held(stack)
            echo, endings = answers_echo(dcmtk, stack.port), _endings(site)
            next_film = _judged(dcmtk, stack, tmp_path_factory.mktemp("next"))
        yield PushedAll(
            before=before,
            after=after,
            held_before=held_before,
            held_after=held_after,
            left_behind=sorted(path.name for path in Path(scratch).iterdir()),
            answers_echo=echo,
            next_film=next_film,
            results=results,
            endings=endings,
            quarantined=len(list((site.home / "spool" / "quarantine").iterdir())),
        )


def _judged(dcmtk: Peers, stack: Running, folder: Path) -> Mapping[str, Any]:
    """A film of our own, pushed and judged: its row of the worklist."""
    film = make_study(folder)
    push(dcmtk, stack.port, film.files)
    _wait_idle(stack.site)
    return stack.site.worklist()[film.uid]


def _push_all(stack: Running, dcmtk: Peers, files: Sequence[Known]) -> dict[str, SendResult]:
    """Send by storescu, a call for each transfer syntax, as a hospital would; then each file as it is, for its status."""
    groups: dict[str, list[Path]] = defaultdict(list)
    for known in files:
        groups[_syntax_of(known.path)].append(known.path)
    for syntax in set(groups) & set(PROPOSE):
        paths = groups[syntax]
        dcmtk.run("storescu", "-nh", PROPOSE[syntax], "-R", "-aec", "AUSCULT", LOCAL, stack.port, *paths, timeout_s=120)
    results = send([known.path for known in files], LOCAL, stack.port)
    return {known.name: result for known, result in zip(files, results, strict=True)}


def _syntax_of(path: Path) -> str:
    try:
        return read_facts(path).transfer_syntax_uid
    except NotDicom:
        return ""


def _held(stack: Running) -> dict[int, Held]:
    processes = stack.descendants()
    return {
        process.pid: Held(process.name(), process.num_fds(), process.memory_info().rss)
        for process in processes
        if process.status() != psutil.STATUS_ZOMBIE
    }


def _wait_idle(site: Site) -> None:
    """Wait until the spool is empty and every study terminal."""

    def idle() -> bool:
        if any((site.home / "spool" / "new").iterdir()):
            return False
        rows = site.worklist()
        return bool(rows) and all(row["ai_status"] in TERMINAL for row in rows.values())

    wait_until(idle, 180, "everything to be done")


def _endings(site: Site) -> dict[str, Ending]:
    """How each image ended, by the digest of its data set."""
    rows = site.query("SELECT image_sha256, outcome, reason, decoder FROM result_history")
    return {row["image_sha256"]: Ending(row["outcome"], row["reason"] or "", row["decoder"] or "") for row in rows}


@pytest.fixture(scope="module")
def ingested(test_data: Path) -> Iterator[IngestedAll]:
    with new_site() as site:
        summary = site.run("ingest", test_data / "dicom", "--json", check=None)
        yield IngestedAll(summary.returncode, json.loads(summary.stdout), _endings(site))


def test_the_table_has_a_row_for_every_file(files: list[Known]) -> None:
    assert len(files) == FILES
    assert sorted(expected()) == sorted(known.name for known in files)


def test_each_file_is_answered_with_its_status(pushed: PushedAll) -> None:
    wanted = {row.file: row.pushed for row in expected().values()}
    assert differences(wanted, {name: _answer(result) for name, result in pushed.results.items()}) == []


def _answer(result: SendResult) -> str:
    if result.problem is SendProblem.UNREADABLE:
        return CANNOT_BE_SENT
    return str(result.problem) if result.problem else f"0x{result.status:04X}"


def test_each_file_that_was_pushed_ends_as_expected(pushed: PushedAll, digests: dict[str, str]) -> None:
    taken = {row.file: (row.ingested, row.reason) for row in expected().values() if row.pushed == "0x0000"}
    found = {name: _found(pushed.endings, digests[name]) for name in taken}
    assert differences(taken, found) == []


def _found(endings: dict[str, Ending], digest: str) -> tuple[str, str] | None:
    ending = endings.get(digest)
    return None if ending is None else (ending.outcome, ending.reason)


def test_each_file_that_was_ingested_ends_as_expected(
    files: list[Known], ingested: IngestedAll, digests: dict[str, str]
) -> None:
    # what is skipped is counted, not named
    wanted = {row.file: None if row.ingested == SKIPPED else (row.ingested, row.reason) for row in expected().values()}
    turned = {item["path"]: item["reason"] for item in ingested.summary["turned_away"]}
    found = {
        known.name: (TURNED_AWAY, turned[str(known.path)])
        if str(known.path) in turned
        else _found(ingested.endings, digests.get(known.name, ""))
        for known in files
    }
    assert differences(wanted, found) == []


@pytest.mark.parametrize("way", ["pushed", "ingested"])
def test_a_result_names_the_decoder_that_read_the_film(
    way: str, digests: dict[str, str], request: pytest.FixtureRequest
) -> None:
    endings: dict[str, Ending] = request.getfixturevalue(way).endings
    judged = {row.file: row.decoder for row in expected().values() if row.ingested == "OK"}
    assert differences(judged, {name: endings[digests[name]].decoder for name in judged}) == []
    assert judged


def test_nothing_but_a_chest_film_is_judged(files: list[Known]) -> None:
    table = expected()
    others = [known for known in files if known.modality in OTHER_MODALITIES or known.body_part in OTHER_PARTS]
    assert len(others) > 100
    assert [known.name for known in others if table[known.name].ingested == "OK"] == []


def test_a_push_of_everything_leaves_every_process_running(pushed: PushedAll) -> None:
    assert len(pushed.before) >= 4
    assert pushed.after == pushed.before
    assert pushed.answers_echo
    assert pushed.next_film["ai_status"] == "FINAL"
    assert pushed.quarantined == 0


def test_a_push_of_everything_leaves_nothing_open_and_nothing_behind(pushed: PushedAll) -> None:
    assert pushed.left_behind == []
    grown = {
        held.name: (pushed.held_before[pid], held)
        for pid, held in pushed.held_after.items()
        if held.descriptors > pushed.held_before[pid].descriptors + 4
        or held.resident > pushed.held_before[pid].resident + 96 * MIB
    }
    assert grown == {}


def test_an_ingest_of_everything_counts_every_file(ingested: IngestedAll) -> None:
    summary = ingested.summary
    skipped = Counter(row.reason for row in expected().values() if row.ingested == SKIPPED)
    assert {kind: summary["skipped"][kind] for kind in skipped} == skipped
    assert summary["registered"] + len(summary["turned_away"]) + skipped.total() >= FILES
    assert sum(row["n"] for row in summary["outcomes"]) == summary["registered"] - summary["duplicates"]
    assert ingested.exit_code == 1
