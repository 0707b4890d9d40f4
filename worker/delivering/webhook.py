"""Destinations by webhook: a signed message for each answer, and for each that was taken back.

The message says what the finding is, and not of whom: its receiver looks the study up in the view `deliveries` by the number
of the delivery. Where the site wants it, the message names study and patient by their numbers; never by name or birth date.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from dicom_io.own_device import uid_of
from model.notice import NOTICE
from worker.db.delivery.outcome import DeliveryReason, Ended, Outcome
from worker.db.models.bundles import model_by_id
from worker.db.read.answers import study_row
from worker.db.schema.states import DeliveryAction
from worker.delivering.answer import finding_of, says_of
from worker.delivering.signed_post import WebhookAway, endpoint, post, secrets_of, signed_headers, trust
from worker.errors import SettingsError
from worker.logs import error_class

if TYPE_CHECKING:
    from worker.database import Database
    from worker.db.delivery.outcome import ClaimedDelivery
    from worker.db.schema.study import Study
    from worker.delivering.sender import Record
    from worker.delivering.signed_post import Reply
    from worker.settings import Settings

logger = logging.getLogger(__name__)

#: The types of messages.
REPORTED, WITHDRAWN = "result.reported", "result.withdrawn"
#: Statuses that tell of the message, not of the receiver: others of the same receiver may fare better.
_OF_MESSAGE = (400, 409, 413, 422)


class WebhookSender:
    """Sends messages (`worker.delivering.sender.Sender`)."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database

    def deliver(self, claimed: ClaimedDelivery, record: Record) -> Outcome:
        """Make one attempt."""
        try:
            to = endpoint(claimed.target.address)
            secrets = webhook_secrets(self._settings, claimed.target.name)
            context = trust(self._settings.tls_ca)
        except (ValueError, OSError, SettingsError) as error:
            _warn(claimed, cause=error_class(error), detail=str(error))
            return Outcome(Ended.RETRY, DeliveryReason.SETTINGS_WRONG, is_destination_away=True)
        data = self._data(claimed)
        if data is None:
            return Outcome(Ended.SUPERSEDED, DeliveryReason.ANSWER_CHANGED)
        body = message(claimed, data)
        try:
            reply = post(to, body, signed_headers(claimed.uid, body, secrets), context, before=record)
        except WebhookAway as error:
            _warn(claimed, cause=error_class(error), detail=str(error))
            return Outcome(Ended.RETRY, DeliveryReason.PEER_AWAY, is_destination_away=True)
        if not reply.is_taken:
            _warn(claimed, status=reply.status)
        return _outcome(reply)

    def _data(self, claimed: ClaimedDelivery) -> dict[str, Any] | None:
        """What the message says of the study; None where the answer is another one by now."""
        with self._database.reads() as session:
            study = study_row(session, claimed.study_id)
            named = identity(study) if claimed.target.names_patient else {}
            if claimed.action is DeliveryAction.WITHDRAW:
                return named
            finding = finding_of(study)
            if finding is None or study.model_id is None or says_of(study) != claimed.says:
                return None
            model = model_by_id(session, study.model_id)
            return {
                "finding": "PNEUMONIA",
                "finding_status": finding.value,
                "band": study.band.value if study.band else None,
                "probability": study.probability,
                "threshold": study.threshold,
                "model": {"name": model.name, "version": model.version},
                "revision": study.revision,
                **named,
            }


def identity(study: Study) -> dict[str, Any]:
    """The numbers by which systems know a study and its patient."""
    return {
        "study_uid": study.study_uid,
        "side": study.side,
        "accession_number": study.accession_number,
        "patient_id": study.patient_id,
        "issuer_of_patient_id": study.issuer_of_patient_id,
    }


def message(claimed: ClaimedDelivery, data: dict[str, Any]) -> bytes:
    """The body of a message, the same for each attempt.

    `type`, `timestamp` and `data` are those of Standard Webhooks. In `data`, `study_key` is the same for all messages about one
    study to one destination and tells nothing else of it, and `number` counts them from 1: the highest holds.
    """
    known_by = uid_of("webhook", str(claimed.target.destination_id), claimed.study_uid, str(claimed.side))
    document = {
        "type": REPORTED if claimed.action is DeliveryAction.REPORT else WITHDRAWN,
        "timestamp": claimed.created_at.isoformat(),
        "data": {
            "delivery_id": claimed.delivery_id,
            "study_key": known_by,
            "number": claimed.number,
            **data,
            "notice": NOTICE,
        },
    }
    return json.dumps(document, separators=(",", ":")).encode()


def webhook_secrets(settings: Settings, name: str) -> tuple[bytes, ...]:
    """The secrets of a destination; raises SettingsError where the settings name none, ValueError for one that is none."""
    path = settings.webhook_secrets
    if path is None:
        msg = "AUSCULT_WEBHOOK_SECRETS names no file, and messages are signed"
        raise SettingsError(msg)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        msg = f"AUSCULT_WEBHOOK_SECRETS names a file that cannot be read ({type(error).__name__})"
        raise SettingsError(msg) from None
    entries = [line.split() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    found = [entry[1] for entry in entries if len(entry) == 2 and entry[0] == name]
    if not found:
        msg = f"the file of AUSCULT_WEBHOOK_SECRETS has no line of a name and a secret for {name}"
        raise SettingsError(msg)
    return secrets_of("\n".join(found))


def _outcome(reply: Reply) -> Outcome:
    if reply.is_taken:
        return Outcome(Ended.DELIVERED)
    if reply.is_final:
        return Outcome(Ended.REFUSED, DeliveryReason.OBJECT_REFUSED)
    is_away = reply.status not in _OF_MESSAGE
    return Outcome(Ended.RETRY, DeliveryReason.TRY_LATER, is_away, reply.retry_after_s)


def _warn(claimed: ClaimedDelivery, **facts: object) -> None:
    """Log why a message was not taken; the texts of our errors name no study and no secret."""
    named = {"action": "webhook", "delivery": claimed.delivery_id, "destination": claimed.target.name}
    logger.warning("a message was not delivered", extra=named | facts)
