"""The loop in which a listener counts the days that are over, and looks whether the films of the site have changed."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING

from model.drift.verdict import Verdict
from worker.db.batches.suspensions import suspended_models
from worker.db.models.bundles import Order
from worker.health import checks
from worker.loops import Loop
from worker.models import drift, lifecycle
from worker.models.active import active_model

if TYPE_CHECKING:
    from worker.database import Database
    from worker.db.read.probes import Finding
    from worker.models.drift import Checked
    from worker.settings import Settings

logger = logging.getLogger(__name__)

TICK_S = 600.0
#: Who suspends a model where no person does.
WHO = "drift"


class DriftWatch(Loop):
    """Counts each day once it is over, and compares; where the site wants that, a change of the pictures suspends the model."""

    name = "drift"

    def __init__(self, settings: Settings, database: Database) -> None:
        super().__init__(TICK_S)
        self._settings = settings
        self._database = database
        self._finding = checks.drift([], "")

    def finding(self) -> Finding:
        """The probe: what the last comparison found."""
        return self._finding

    def turn(self) -> bool:
        """Count the next day; once none is left, compare: another listener may have counted, a person decided."""
        if drift.count_day(self._database) is not None:
            return True
        model = active_model(self._settings, self._database)
        if model is not None:
            self._note(drift.check(self._settings, self._database, model))
        return False

    def _note(self, found: Checked) -> None:
        verdicts = sorted(group.drift.verdict.value for group in found.alarms)
        before, self._finding = self._finding, checks.drift(verdicts, found.model)
        if verdicts and before != self._finding:
            logger.warning("drift", extra={"action": "drift", "model": found.model, "verdicts": verdicts})
        if self._settings.drift_suspends:
            self._suspend(found)

    def _suspend(self, found: Checked) -> None:
        """Suspend the model for pictures that have changed; never for prevalence, which is no fault of it."""
        changed = [group.drift for group in found.alarms if group.drift.verdict is Verdict.PICTURES]
        with self._database.reads() as session:
            is_suspended = found.model in suspended_models(session)
        if is_suspended or not changed:
            return
        first = min(one.now[0] for one in changed if one.now)
        measures = sorted({str(name) for one in changed for name in one.because})
        why = f"the pictures of {len(changed)} devices have changed: {', '.join(measures)}; see auscult drift"
        since = datetime.combine(first, time(), UTC)
        lifecycle.suspend(self._settings, self._database, found.model, Order(WHO, why), since)
        logger.warning("model suspended", extra={"action": "suspend", "model": found.model})
