"""All 312 public DICOM files, pushed and ingested: nothing dies, nothing else than a chest film is judged."""

from __future__ import annotations

import json
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from pydicom import config, dcmread

from dicom_io.scu import SendResult, send
from tests.running import TERMINAL
from tests.sites import LOCAL, PROPOSE, answers_echo, make_study, new_site, new_stack, pids, push
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.peers import Peers
    from tests.running import Running, Site

pytest_plugins = ["tests.peers"]
pytestmark = [pytest.mark.acceptance, pytest.mark.data, pytest.mark.timeout(400)]

FILES = 312
#: What must never be judged: by the manifest's modality, or by the body part of a radiograph.
OTHER_MODALITIES = {"CT", "MR", "US", "NM", "PT", "SR", "SEG", "RTPLAN", "RTDOSE", "RTSTRUCT", "RTIMAGE", "KO", "PR"}
OTHER_PARTS = {"HIP", "EXTREMITY", "CSPINE"}
Ending = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Known:
    """A file and what is known of it without any code of ours."""

    path: Path
    modality: str
    body_part: str
    sop_uid: str
    syntax: str


@dataclass(frozen=True, slots=True)
class PushedAll:
    """What became of everything when it was pushed."""

    before: dict[int, str]
    after: dict[int, str]
    answers_echo: bool
    next_film: Mapping[str, Any]
    by_ours: Mapping[Path, SendResult]
    endings: dict[str, list[Ending]]
    door: Counter[Ending]
    quarantined: int


@dataclass(frozen=True, slots=True)
class IngestedAll:
    """What became of everything when it was ingested."""

    exit_code: int
    summary: Mapping[str, Any]
    endings: dict[str, list[Ending]]


@pytest.fixture(scope="module")
def files(test_data: Path) -> list[Known]:
    folder = test_data / "dicom"
    head, *lines = (folder / "dicom_manifest.tsv").read_text(encoding="utf-8").splitlines()
    rows = [dict(zip(head.split("\t"), line.split("\t"), strict=False)) for line in lines]
    return [_known(folder / row["local"], row["Modality"], row["BodyPartExamined"]) for row in rows]


def _known(path: Path, modality: str, body_part: str) -> Known:
    with config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = _header(path)
        sop_uid = str(header.get("SOPInstanceUID", "")) if header else ""
        syntax = str(getattr(header.file_meta, "TransferSyntaxUID", "")) if header else ""
    return Known(path, modality, body_part, sop_uid, syntax)


def _header(path: Path) -> Any:
    try:
        return dcmread(path, force=True, stop_before_pixels=True)
    except Exception:  # noqa: BLE001 - some of these files are made to break readers
        return None


@pytest.fixture(scope="module")
def pushed(files: list[Known], dcmtk: Peers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PushedAll]:
    with new_stack() as stack:
        wait_until(lambda: stack.site.query("SELECT id FROM worker"), 90, "the worker's heartbeat")
        before = pids(stack)
        by_ours = _push_all(stack, dcmtk, files)
        _wait_idle(stack.site)
        after = pids(stack)
        echo = answers_echo(dcmtk, stack.port)
        endings = _endings(stack.site)
        door = _door(stack.site)
        film = make_study(tmp_path_factory.mktemp("next"))
        push(dcmtk, stack.port, film.files)
        _wait_idle(stack.site)
        quarantined = len(list((stack.site.home / "spool" / "quarantine").iterdir()))
        yield PushedAll(before, after, echo, stack.site.worklist()[film.uid], by_ours, endings, door, quarantined)


def _push_all(stack: Running, dcmtk: Peers, files: Sequence[Known]) -> dict[Path, SendResult]:
    """Send by storescu, a call for each transfer syntax; what did not arrive that way is sent by our own sender."""
    groups: dict[str, list[Path]] = defaultdict(list)
    for known in files:
        if known.syntax in PROPOSE:
            groups[known.syntax].append(known.path)
    for syntax, paths in groups.items():
        dcmtk.run("storescu", "-nh", PROPOSE[syntax], "-R", "-aec", "AUSCULT", LOCAL, stack.port, *paths, timeout_s=120)
    _wait_idle(stack.site)
    arrived = {row["sop_uid"] for row in stack.site.query("SELECT sop_uid FROM image")}
    left = [known.path for known in files if known.sop_uid not in arrived]
    assert len(left) < FILES / 2, "storescu sends most of them"
    return dict(zip(left, send(left, LOCAL, stack.port), strict=True))


def _wait_idle(site: Site) -> None:
    """Wait until the spool is empty and every study terminal."""

    def idle() -> bool:
        if any((site.home / "spool" / "new").iterdir()):
            return False
        rows = site.worklist()
        return bool(rows) and all(row["ai_status"] in TERMINAL for row in rows.values())

    wait_until(idle, 180, "everything to be done")


def _endings(site: Site) -> dict[str, list[Ending]]:
    """How each SOP instance ended, in all its versions: outcome and reason."""
    found: dict[str, set[Ending]] = defaultdict(set)
    for row in site.query("SELECT sop_uid, outcome, reason FROM result_history"):
        found[row["sop_uid"]].add((row["outcome"], row["reason"] or ""))
    return {uid: sorted(endings) for uid, endings in found.items()}


def _door(site: Site) -> Counter[Ending]:
    rows = site.query("SELECT kind, reason FROM refused WHERE source = 'door'")
    return Counter(("turned away", row["reason"]) for row in rows)


@pytest.fixture(scope="module")
def ingested(test_data: Path) -> Iterator[IngestedAll]:
    with new_site() as site:
        summary = site.run("ingest", test_data / "dicom", "--json", check=None)
        yield IngestedAll(summary.returncode, json.loads(summary.stdout), _endings(site))


def test_a_push_of_everything_leaves_every_process_running(pushed: PushedAll) -> None:
    assert len(pushed.before) >= 4
    assert pushed.after == pushed.before
    assert pushed.answers_echo


def test_the_next_film_after_everything_is_judged(pushed: PushedAll) -> None:
    assert pushed.next_film["ai_status"] == "FINAL"


def test_every_file_is_an_image_or_was_answered_why_not(files: list[Known], pushed: PushedAll) -> None:
    silent = [
        known.path.name
        for known in files
        if known.sop_uid not in pushed.endings
        and not (known.path in pushed.by_ours and pushed.by_ours[known.path].status)
    ]
    assert len(files) == FILES
    assert silent == []
    assert pushed.quarantined == 0


@pytest.mark.parametrize("way", ["pushed", "ingested"])
def test_nothing_but_a_chest_film_is_judged(files: list[Known], way: str, request: pytest.FixtureRequest) -> None:
    endings: dict[str, list[Ending]] = request.getfixturevalue(way).endings
    others = {
        known.sop_uid: known.path.name
        for known in files
        if known.modality in OTHER_MODALITIES or known.body_part in OTHER_PARTS
    }
    judged = {uid for uid, ends in endings.items() if ("OK", "") in ends}
    assert len(others) > 100
    assert [others[uid] for uid in judged & set(others)] == []
    assert judged, "the two chest films of unknown age"


def test_a_file_ends_alike_whether_it_is_pushed_or_ingested(pushed: PushedAll, ingested: IngestedAll) -> None:
    both = set(pushed.endings) & set(ingested.endings)
    assert len(both) > 150
    differing = {
        uid: (pushed.endings[uid], ingested.endings[uid])
        for uid in both
        if pushed.endings[uid] != ingested.endings[uid]
    }
    assert differing == {}


def test_what_the_door_takes_the_folder_takes_too(pushed: PushedAll, ingested: IngestedAll) -> None:
    refused = {result.sop_uid for result in pushed.by_ours.values() if result.status}
    assert set(pushed.endings) - set(ingested.endings) == set()
    assert set(ingested.endings) - set(pushed.endings) <= refused


def test_an_ingest_of_everything_counts_every_file(ingested: IngestedAll) -> None:
    summary = ingested.summary
    turned = Counter(item["reason"] for item in summary["turned_away"])
    assert summary["registered"] + len(summary["turned_away"]) >= FILES
    assert sum(row["n"] for row in summary["outcomes"]) == summary["registered"] - summary["duplicates"]
    assert turned["NOT_DICOM"] >= 2, "the manifest and its explanation are no DICOM files"
    assert ingested.exit_code == 1


def test_the_table_of_outcomes_and_reasons(
    pushed: PushedAll, ingested: IngestedAll, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = [Counter(end for ends in way.endings.values() for end in ends) for way in (pushed, ingested)]
    columns[0] += pushed.door
    columns[1] += Counter(("turned away", item["reason"]) for item in ingested.summary["turned_away"])
    rows = sorted(columns[0] | columns[1])
    with capsys.disabled():
        print(f"\n{'outcome':<16}{'reason':<30}{'pushed':>8}{'ingested':>10}")  # noqa: T201 - the table is the point
        for ending in rows:
            print(f"{ending[0]:<16}{ending[1]:<30}{columns[0][ending]:>8}{columns[1][ending]:>10}")  # noqa: T201
    assert {outcome for outcome, _ in rows} == {"OK", "NOT_APPLICABLE", "BAD_INPUT", "turned away"}
