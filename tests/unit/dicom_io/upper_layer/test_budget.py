"""The memory that associations share."""

from __future__ import annotations

from dicom_io.upper_layer.budget import Budget


def test_over_the_limit_only_the_oldest_goes_on() -> None:
    budget = Budget(100)
    assert budget.may_take("first")
    budget.take("first", 60)
    assert budget.may_take("second")
    budget.take("second", 60)
    assert [budget.may_take(holder) for holder in ("first", "second", "third")] == [True, False, False]
    assert budget.is_waited_for("first")
    assert not budget.is_waited_for("second")
    budget.take("first", 1000)
    assert budget.total == 1120
    budget.release("first")
    assert budget.total == 60
    assert budget.may_take("third")
    budget.release("second")
    budget.release("never held anything")
    assert budget.total == 0
