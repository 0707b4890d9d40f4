"""A purge of records: which studies go with all their rows, which stay and why, and kills at each step."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import select, update

from dicom_io.errors import SpoolError
from dicom_io.header.rejection import RejectionTitle
from dicom_io.inbox.journal import RefusalKind, RefusalRecord
from dicom_io.reasons import Reason
from tests.support.database import BOTH, any_film, fresh_site, refused, scored
from tests.support.killed_purge import STEPS, killed
from tests.support.rejections import LISTED, NOTE_FACTS, PACS, rejecting
from tests.support.retention import Holding
from worker.db.audit.record import Actor
from worker.db.batches import reruns
from worker.db.batches.selection import Selector
from worker.db.filing.registry import add_refusals
from worker.db.identity.aliases import Aliases
from worker.db.identity.arrivals import Received
from worker.db.identity.rows import lock_rows
from worker.db.retention.commitments import commit_objects
from worker.db.schema.states import ConflictEnd
from worker.db.schema.study import Base, Image, Study, Worker
from worker.fsck.run import fsck
from worker.retention import records as purging
from worker.retention.policy import record_rule
from worker.retention.removing import Remover

pytestmark = pytest.mark.integration

ADA = Actor("ada", "here")
#: Days after which a study of an adult is beyond the floor of ten years.
OLD = 3700
ADULT = date(1970, 1, 1)
FLOOR = {"keep_years": 10, "keep_until_birthday": 28}


@pytest.fixture(params=BOTH)
def holding(request, tmp_path):
    for site in fresh_site(request, tmp_path):
        held = Holding.of(site, tmp_path / "home", **FLOOR)
        yield held
        held.close()


def day(days: int) -> date:
    return (datetime.now(UTC) - timedelta(days=days)).date()


def judged(holding, study: str, *, days: int = OLD, born: date | None = ADULT, grey: int = 0, **others):
    """A finished study of one film that is so many days old."""
    dates = {"patient_birth_date": born, "study_date": day(days), "age_months": None}
    return holding.judged(study, f"{study}.1", days=days, grey=grey, **dates, **others)


def purge(holding, *study_uids: str, **rule):
    order = purging.RecordsOrder(record_rule(holding.settings, **rule), ADA, "tidy", study_uids)
    return purging.purge_records(holding.settings, holding.database, order)


def kept(holding, *study_uids: str, **rule) -> dict[str, int]:
    found = purging.outlook(holding.database, record_rule(holding.settings, **rule), study_uids)
    return {reason.value: count for reason, count in found.kept.items()} | ({"GO": found.go} if found.go else {})


def studies(holding) -> set[str]:
    return {row["study_uid"] for row in holding.site.rows("SELECT study_uid FROM study")}


def counts(holding) -> dict[str, int]:
    return {name: holding.site.value(f"SELECT count(*) FROM {name}") for name in Base.metadata.tables}


def all_is_well(holding) -> None:
    holding.every_row_tells_the_truth()
    report = fsck(holding.settings, holding.database)
    assert report.rows() == []


def rerun_all(holding) -> None:
    with holding.site.sessions.begin() as session:
        batch = reruns.open_batch(
            session,
            selector=Selector(all=True),
            model_id=holding.site.model_id,
            who="ada",
            why="",
            keep_current=False,
        )
        ids = list(reruns.pending_ids(session, batch.batch_id, 100))
    for task_id in ids:
        holding.judge(task_id, scored(0.2, film=any_film(grey=1)))


def with_everything(holding) -> None:
    """An old study with rows in every table that can name one."""
    entry = judged(holding, "1.1", grey=1, patient_id="P", patient_name="One")
    rerun_all(holding)
    newer = {"patient_id": "P", "patient_name": "Two", "patient_birth_date": ADULT}
    holding.site.receive("1.1", "1.1.1", content="newer", source="PACS", **newer)
    holding.judge(holding.site.value("SELECT max(id) FROM task"), scored(0.3, film=any_film(grey=1)))
    holding.site.receive(sop="1.1.9", study="1.1", rejection=rejecting("1.1.5", study="1.1"), **sent(), **newer)
    holding.site.finish(holding.site.value("SELECT max(id) FROM task"), refused(Reason.LATERAL_VIEW))
    with holding.site.sessions.begin() as session:
        commit_objects(session, [entry.image_id], "CT1", "1.9", 1)
        refusal = RefusalRecord("r1", "2016-01-01T00:00:00+00:00", RefusalKind.OBJECT, Reason.INVALID_STUDY_UID)
        add_refusals(session, [refusal])
        session.add(worker_with(entry.task_id))
    holding.site.change("UPDATE refusal SET study_uid = '1.1'")
    holding.site.change("UPDATE commitment SET until = '2020-01-01 00:00:00'")
    holding.site.settle()
    holding.age("1.1", OLD)


def test_a_study_beyond_its_floor_goes_with_every_row_that_names_it_and_others_stay_as_they_are(holding):
    before = counts(holding)
    with_everything(holding)
    whole = counts(holding)
    grown = {name for name in whole if whole[name] > before[name]}
    assert grown >= {"study", "image", "task", "result", "receipt", "correction", "rejection_note", "rejected_object"}
    judged(holding, "1.2", days=3600, grey=2)
    judged(holding, "1.3", born=day(OLD + 1000), grey=3)
    others = [answer_of(holding, uid) for uid in ("1.2", "1.3")]
    assert kept(holding) == {"GO": 1, "FLOOR": 1}
    report = purge(holding)
    assert (report.studies, report.failed, report.ended_how) == (1, 0, "DONE")
    assert studies(holding) == {"1.2", "1.3"}
    # Nothing is left but what the other two brought, and what the site's own tables hold.
    left = counts(holding)
    two_more = {"study": 2, "image": 2, "task": 2, "result": 2, "receipt": 2}
    trail = {name: left[name] for name in ("audit_event", "audit_object")}
    site_s_own = {"purge": 1, "batch": 1, "worker": 1} | trail
    expected = {name: before[name] + two_more.get(name, 0) for name in before}
    assert left == expected | site_s_own
    assert holding.site.value("SELECT count(*) FROM worker WHERE task_id IS NOT NULL") == 0
    assert [answer_of(holding, uid) for uid in ("1.2", "1.3")] == others
    (row,) = holding.site.rows("SELECT kind, n_records, n_studies, rules FROM purges")
    assert (row["kind"], row["n_records"]) == ("RECORDS", 1)
    assert json.loads(row["rules"])["keep_years"] == 10
    (event,) = holding.site.rows(
        "SELECT study_uid, who, event_code, action, patient_id, patient_key, detail FROM audit "
        "WHERE act = 'RECORDS_PURGED'"
    )
    assert (event["study_uid"], event["who"], event["event_code"], event["action"]) == ("1.1", "ada", "110105", "D")
    assert event["patient_id"] == ""
    assert event["patient_key"]
    detail = json.loads(event["detail"])
    assert (detail["below_floor"], detail["why"], detail["rows"]["image"]) == (False, "tidy", 3)
    all_is_well(holding)
    assert purge(holding).studies == 0


def answer_of(holding, uid: str) -> dict:
    """The row of the worklist, but for what depends on other rows and on the clock."""
    return {**holding.site.entry(uid), "waiting_s": None, "priority_rank": None}


def sent() -> dict:
    return PACS | NOTE_FACTS | {"policy": LISTED}


def worker_with(task_id: int | None) -> Worker:
    now = datetime.now(UTC)
    return Worker(
        name="w",
        host="h",
        pid=1,
        kind="celery",
        started_at=now,
        heartbeat_at=now,
        model="m",
        engine="litert",
        task_id=task_id,
        tasks_done=1,
    )


def test_a_site_that_has_not_set_both_halves_of_the_floor_removes_nothing(holding):
    judged(holding, "1.1", days=40_000)
    for half in ("keep_years", "keep_until_birthday"):
        holding.settings = holding.settings.model_copy(update={**FLOOR, half: None})
        assert kept(holding) == {"NO_FLOOR": 1}
        assert purge(holding).studies == 0
    assert holding.originals == 1


def test_what_is_unfinished_in_conflict_withdrawn_or_committed_stays_even_below_the_floor(holding):
    holding.receive("1.1", "1.1.1", days=OLD, patient_birth_date=ADULT)
    judged(holding, "1.2", grey=2)
    rerun_task = reruns_open(holding)
    judged(holding, "1.3", grey=3, patient_id="P", content="one")
    holding.judged("1.4", "1.3.1", days=OLD, patient_id="Q", content="two", patient_birth_date=ADULT)
    judged(holding, "1.5", grey=5, patient_id="P")
    note = holding.site.receive(
        sop="1.5.9", study="1.5", rejection=rejecting("1.5.1", study="1.5"), patient_id="P", **sent()
    )
    holding.site.finish(note.task_id, refused(Reason.LATERAL_VIEW))
    entry = judged(holding, "1.6", grey=6)
    with holding.site.sessions.begin() as session:
        commit_objects(session, [entry.image_id], "CT1", "1.9", 30)
    holding.site.settle()
    for number in range(1, 7):
        holding.age(f"1.{number}", OLD)
    expected = {"UNFINISHED": 2, "CONFLICT": 2, "WITHDRAWN": 1, "COMMITTED": 1}
    assert kept(holding) == expected
    uids = [f"1.{number}" for number in range(1, 7)]
    assert kept(holding, *uids, below_floor=True) == expected
    purge(holding)
    purge(holding, *uids, below_floor=True)
    assert (studies(holding), holding.originals) == (set(uids), 6)
    assert rerun_task
    holding.site.change("UPDATE commitment SET until = '2020-01-01 00:00:00'")
    holding.site.change("UPDATE withdrawal SET at = '2020-01-01 00:00:00'")
    assert purge(holding).studies == 2
    assert studies(holding) == {"1.1", "1.2", "1.3", "1.4"}
    all_is_well(holding)


def reruns_open(holding) -> int:
    with holding.site.sessions.begin() as session:
        return reruns.open_batch(
            session,
            selector=Selector(study_uids=("1.2",)),
            model_id=holding.site.model_id,
            who="ada",
            why="",
            keep_current=False,
        ).batch_id


def test_a_decided_conflict_stays_until_the_floor_of_both_its_studies_has_passed(holding):
    judged(holding, "1.1", grey=1, patient_id="P", content="one")
    holding.judged("1.2", "1.1.1", days=100, patient_id="Q", content="two", grey=2, patient_birth_date=ADULT)
    holding.decide(ConflictEnd.HELD)
    holding.age("1.1", OLD)
    holding.age("1.2", 100)
    answer = holding.site.entry("1.2")["ai_status"]
    assert kept(holding) == {"BOUND": 1}
    assert purge(holding).studies == 0
    assert holding.originals == 2
    holding.age("1.2", OLD)
    report = purge(holding)
    assert (report.studies, studies(holding)) == (2, set())
    assert answer
    all_is_well(holding)


def test_rows_that_were_merged_go_together_by_the_later_floor(holding):
    judged(holding, "1.1", grey=1, patient_id="P", content="one")
    holding.judged(
        "1.1", "1.1.2", grey=2, patient_id="Q", content="two", patient_birth_date=day(OLD + 1000), study_date=day(OLD)
    )
    holding.decide(ConflictEnd.SAME)
    holding.age("1.1", OLD)
    assert len(holding.site.rows("SELECT id FROM study")) == 2
    assert kept(holding) == {"FLOOR": 1}
    holding.site.change("UPDATE study SET patient_birth_date = '1970-01-01'")
    assert purge(holding).studies == 1
    assert holding.site.rows("SELECT * FROM study UNION ALL SELECT * FROM study") == []
    assert len(holding.site.rows("SELECT * FROM audit WHERE act = 'RECORDS_PURGED'")) == 2
    all_is_well(holding)


def test_a_rejection_note_in_force_goes_with_the_film_that_it_withdraws(holding):
    judged(holding, "1.1", grey=1, patient_id="P")
    note = holding.site.receive(
        sop="1.1.9", study="1.1", rejection=rejecting("1.1.1", study="1.1"), patient_id="P", **sent()
    )
    holding.site.finish(note.task_id, refused(Reason.LATERAL_VIEW))
    judged(holding, "1.2", grey=2, patient_id="P", days=100)
    with holding.site.sessions.begin() as session:
        # The note's document came to stand in a younger row.
        other = session.execute(select(Study.id).where(Study.study_uid == "1.2")).scalar_one()
        session.execute(update(Image).where(Image.id == note.image_id).values(study_id=other))
    holding.site.change("UPDATE withdrawal SET at = '2020-01-01 00:00:00'")
    holding.age("1.1", OLD)
    assert kept(holding) == {"FLOOR": 1}
    assert purge(holding).studies == 0
    holding.site.change(f"UPDATE study SET study_date = '{day(OLD)}', patient_birth_date = '1970-01-01'")
    holding.age("1.2", OLD)
    purge(holding)
    assert studies(holding) == set()


def test_below_the_floor_goes_only_what_is_named_and_the_event_says_so(holding):
    judged(holding, "1.1", days=5, grey=1)
    judged(holding, "1.2", days=5, grey=2)
    assert kept(holding, "1.1") == {"FLOOR": 1}
    assert purge(holding, "1.1", below_floor=True).studies == 1
    assert studies(holding) == {"1.2"}
    (event,) = holding.site.rows("SELECT detail FROM audit WHERE act = 'RECORDS_PURGED'")
    assert json.loads(event["detail"])["below_floor"] is True
    (row,) = holding.site.rows("SELECT rules FROM purges")
    assert json.loads(row["rules"]) == {
        "below_floor": True,
        "keep_until_birthday": 28,
        "keep_years": 10,
        "study_uids": ["1.1"],
        "withdrawn_days": 30,
    }


def test_the_outlook_names_the_next_day_on_which_something_may_go(holding):
    judged(holding, "1.1", born=date(2020, 1, 1), days=100)
    found = purging.outlook(holding.database, record_rule(holding.settings), ["1.1"])
    assert found.next_floor == date(2048, 1, 1)
    judged(holding, "1.2", grey=2)
    (named,) = purging.outlook(holding.database, record_rule(holding.settings)).named
    assert named.study_uid == "1.2"
    assert named.floor
    assert named.floor <= day(0)


def test_an_object_that_is_sent_again_starts_anew(holding):
    send = partial(judged, holding, "1.1", grey=1, patient_id="P", content="same")
    first = send()
    purge(holding)
    again = send(days=5)
    assert (again.is_new_image, again.revision, again.is_purged) == (True, 1, False)
    assert again.image_id >= first.image_id
    assert (holding.site.entry("1.1")["ai_status"], holding.originals) == ("FINAL", 1)
    assert len(holding.site.rows("SELECT * FROM result_history")) == 1
    all_is_well(holding)


def test_a_study_that_gains_an_object_while_it_is_purged_stays(holding, monkeypatch):
    judged(holding, "1.1", grey=1)
    real = Remover.run
    calls = []

    def run(remover) -> None:
        real(remover)
        calls.append(1)
        if len(calls) == 2:
            holding.receive("1.1", "1.1.2")

    monkeypatch.setattr(Remover, "run", run)
    report = purge(holding)
    assert (report.studies, report.originals, studies(holding)) == (0, 1, {"1.1"})
    assert holding.marks("1.1.1") == (True, True)
    assert holding.marks("1.1.2") == (False, False)
    all_is_well(holding)


def test_a_study_whose_file_cannot_be_removed_keeps_its_rows_for_the_next_purge(holding, monkeypatch):
    judged(holding, "1.1", grey=1)

    def fail(*_: object) -> None:
        raise SpoolError

    monkeypatch.setattr(type(holding.store), "purge", fail)
    report = purge(holding)
    assert (report.studies, report.failed, studies(holding)) == (0, 1, {"1.1"})
    monkeypatch.undo()
    assert purge(holding).studies == 1
    all_is_well(holding)


@pytest.mark.parametrize("step", STEPS)
def test_a_purge_of_records_that_is_killed_loses_nothing_and_the_next_one_ends_it(holding, step):
    judged(holding, "1.1", grey=1)
    judged(holding, "1.2", grey=2)
    judged(holding, "1.3", grey=3, days=5)
    killed(holding, lambda: purge(holding), step)
    # A study is there with all its rows, or it is gone.
    gone = {"1.1", "1.2", "1.3"} - studies(holding)
    purged = {row["study_uid"] for row in holding.site.rows("SELECT study_uid FROM audit WHERE act = 'RECORDS_PURGED'")}
    assert gone == purged == ({"1.1", "1.2"} if step == "all is done" else set())
    assert holding.site.value("SELECT count(*) FROM result") == len(studies(holding))
    for row in holding.site.rows("SELECT store_key, original_purged_at FROM image"):
        assert row["original_purged_at"] is not None or holding.store.exists(row["store_key"])
    purge(holding)
    assert (studies(holding), holding.originals, holding.film_files) == ({"1.3"}, 1, 1)
    assert len(holding.site.rows("SELECT * FROM audit WHERE act = 'RECORDS_PURGED'")) == 2
    all_is_well(holding)


def test_a_row_that_is_deleted_while_an_arrival_waits_for_it_is_waited_for_no_longer(holding):
    from tests.support.database import facts_of

    now = datetime.now(UTC)
    with holding.site.sessions.begin() as session:
        arrival = Received(facts_of(), "a", "k", 0, 0).arrival(Aliases(session), 1, now)
        found = lock_rows(session, [arrival], also=[999_999]).of("1.2.3")
        assert [study.study_uid for study in found.own] == ["1.2.3"]


def test_a_rejection_expires_nothing_of_the_floor(holding):
    judged(holding, "1.1", days=5, grey=1, patient_id="P")
    note = holding.site.receive(
        sop="1.1.9",
        study="1.1",
        rejection=rejecting("1.1.1", study="1.1", title=RejectionTitle.RETENTION_EXPIRED),
        patient_id="P",
        **sent(),
    )
    holding.site.finish(note.task_id, refused(Reason.LATERAL_VIEW))
    holding.site.settle()
    assert kept(holding, "1.1") == {"FLOOR": 1}
