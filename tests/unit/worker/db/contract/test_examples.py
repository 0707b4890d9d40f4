"""The example of a column is a value that may stand there."""

from __future__ import annotations

from datetime import datetime

from dicom_io.reasons import Outcome, Reason
from model.labels import Band, Label
from worker.db.audit.codes import Act
from worker.db.contract.views import VIEWS
from worker.db.read.probes import Probe
from worker.db.schema.states import Level, StudyState

CODES = {
    "act": Act,
    "ai_status": StudyState,
    "band": Band,
    "label": Label,
    "level": Level,
    "outcome": Outcome,
    "previous_label": Label,
    "probe": Probe,
}


def test_an_example_of_a_code_is_one() -> None:
    for view in VIEWS.values():
        for column in view.columns:
            codes = CODES.get(column.name)
            if codes and (view.name, column.name) != ("audit", "outcome"):
                assert column.example in set(codes), f"{view.name}.{column.name}"


def test_the_reason_of_a_film_is_a_reason_code() -> None:
    for name in ("worklist_v3", "films", "result_history", "refused"):
        (reason,) = (column for column in VIEWS[name].columns if column.name == "reason")
        assert reason.example in set(Reason), name


def test_the_rank_is_the_moment_at_which_the_row_is_due() -> None:
    columns = {column.name: column for column in VIEWS["worklist_v3"].columns}
    received_at = datetime.fromisoformat(columns["received_at"].example)
    due_after_s = int(columns["priority_rank"].example) / 1000 - received_at.timestamp()
    assert columns["band"].example == "HIGH"
    assert due_after_s == 900, "PNEUMONIA of band HIGH, by the table `priority_rule` of a new site"
