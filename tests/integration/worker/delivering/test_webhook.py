"""Messages to a webhook: what they say, whom they name, and what becomes of each answer."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.sites import new_stack
from tests.support.studies import chest_film, push
from tests.support.waiting import wait_until
from tests.support.webhook import SECRET, WebhookReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydicom.dataset import Dataset

    from tests.support.running import Running

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

NAMES = ("plain", "named", "busy", "gone", "odd", "doubted")
PATIENT = {"PatientID": "4711", "PatientName": "Doe^Jane", "AccessionNumber": "ACC-17", "PatientBirthDate": "20230102"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    secrets = tmp_path_factory.mktemp("secrets") / "webhooks"
    secrets.write_text("# NAME SECRET\n" + "".join(f"{name} {SECRET}\n" for name in NAMES))
    with new_stack(deliver_backoff_s="0.3", quiet_s="0.2", webhook_secrets=str(secrets)) as running:
        yield running


@contextmanager
def told(stack: Running, name: str, *options: str) -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as receiver:
        stack.site.run("deliver", "add", name, receiver.url, "--why", "a test", *options)
        try:
            yield receiver
        finally:
            stack.site.run("deliver", "remove", name, "--why", "the test is over")


def sent(stack: Running) -> Dataset:
    ds = chest_film(0.3, **PATIENT)
    push([ds], stack.port)
    return ds


def row(stack: Running, ds: Dataset, name: str, state: str) -> Mapping[str, Any]:
    """The last delivery of a study to a destination, once it is in this state."""

    def found() -> Mapping[str, Any] | None:
        rows = stack.site.query(
            "SELECT * FROM deliveries WHERE study_uid = :uid AND destination = :name AND state = :state AND is_last",
            uid=ds.StudyInstanceUID,
            name=name,
            state=state,
        )
        return rows[0] if rows else None

    try:
        return wait_until(found, 90, f"a delivery {state}")
    except AssertionError as error:
        raise AssertionError(stack.text()[-4000:]) from error


def test_a_message_says_the_answer_and_not_of_whom(stack: Running) -> None:
    with told(stack, "plain") as receiver:
        ds = sent(stack)
        delivered = row(stack, ds, "plain", "DELIVERED")
    (message,) = receiver.messages
    answer = stack.site.worklist()[ds.StudyInstanceUID]
    data = message["data"]
    assert message["type"] == "result.reported"
    assert data["delivery_id"] == delivered["delivery_id"]
    assert (data["finding"], data["finding_status"]) == (
        answer["finding"],
        {"DETECTED": "PRESENT", "NOT_DETECTED": "ABSENT", "INDETERMINATE": "INDETERMINATE"}[answer["finding_status"]],
    )
    assert (data["band"], data["probability"], data["threshold"]) == (
        answer["band"],
        answer["probability"],
        answer["threshold"],
    )
    assert data["notice"] == "Not a medical device. Not for diagnosis."
    said = str(message)
    assert not any(text in said for text in (*PATIENT.values(), ds.StudyInstanceUID, ds.SOPInstanceUID))
    (event,) = stack.site.query(
        "SELECT outcome, detail FROM audit WHERE act = 'RESULT_NOTIFIED' AND study_uid = :uid", uid=ds.StudyInstanceUID
    )
    assert event["outcome"] == 0
    assert "secret-path" not in stack.text()
    assert SECRET not in stack.text()


def test_where_the_site_wants_it_a_message_has_the_numbers_of_study_and_patient(stack: Running) -> None:
    with told(stack, "named", "--names-patient") as receiver:
        ds = sent(stack)
        row(stack, ds, "named", "DELIVERED")
    data = receiver.messages[0]["data"]
    assert data["study_uid"] == ds.StudyInstanceUID
    assert (data["patient_id"], data["accession_number"]) == ("4711", "ACC-17")
    assert not any(text in str(data) for text in ("Doe", "Jane", "2023"))


def test_a_receiver_that_cannot_now_gets_the_same_message_again_after_its_pause(stack: Running) -> None:
    with told(stack, "busy") as receiver:
        receiver.answers += [(503, {"retry-after": "1"}), (302, {"location": receiver.url}), (400, {})]
        ds = sent(stack)
        delivered = row(stack, ds, "busy", "DELIVERED")
    assert delivered["attempts"] == len(receiver.ids) == 4
    assert len(set(receiver.ids)) == 1
    assert len(receiver.messages) == 1


def test_a_receiver_that_wants_no_more_waits_for_a_person(stack: Running) -> None:
    with told(stack, "gone") as receiver:
        receiver.answers.append((410, {}))
        ds = sent(stack)
        assert row(stack, ds, "gone", "FAILED")["reason"] == "OBJECT_REFUSED"
        assert '"status": 410' in stack.text()
        stack.site.run("deliver", "retry", "--to", "gone", "--why", "it is back")
        row(stack, ds, "gone", "DELIVERED")
    assert len(set(receiver.ids)) == 1


def test_an_answer_in_doubt_is_taken_back_and_told_again(stack: Running) -> None:
    with told(stack, "doubted") as receiver:
        ds = sent(stack)
        row(stack, ds, "doubted", "DELIVERED")
        # Those of studies of other tests change too.
        (first,) = receiver.messages
        key = first["data"]["study_key"]
        stack.site.run("model", "suspend", "--why", "a test", "--yes")
        (second,) = told_of(receiver, key, 2)[1:]
        stack.site.run("model", "resume", "--release", "--why", "the test is over", "--yes")
        (third,) = told_of(receiver, key, 3)[2:]
    assert [message["type"] for message in (first, second, third)] == [
        "result.reported",
        "result.withdrawn",
        "result.reported",
    ]
    assert [message["data"]["number"] for message in (first, second, third)] == [1, 2, 3]
    assert "finding" not in second["data"]
    assert first["data"]["finding_status"] == third["data"]["finding_status"]


def told_of(receiver: WebhookReceiver, key: str, count: int) -> list[dict[str, Any]]:
    """The messages about one study, once there are so many."""

    def found() -> list[dict[str, Any]] | None:
        messages = [message for message in receiver.messages if message["data"]["study_key"] == key]
        return messages if len(messages) >= count else None

    return wait_until(found, 90, f"{count} messages about a study")


@pytest.mark.parametrize(
    ("name", "url", "options", "why"),
    [
        ("unknown", "https://hook.site.example/secret-path", (), "no line of a name and a secret"),
        ("odd", "http://hook.site.example/secret-path", (), "https://"),
        ("odd", "ftp://hook.site.example/secret-path", (), "is written"),
        ("odd", "https://user:secret-path@hook.site.example/", (), "no user"),
        ("odd", "https://hook.site.example/", ("--heat-map",), "DICOM destinations"),
    ],
)
def test_a_webhook_that_cannot_work_is_not_added(
    stack: Running, name: str, url: str, options: tuple[str, ...], why: str
) -> None:
    done = stack.site.run("deliver", "add", name, url, "--why", "a test", *options, check=None)
    assert done.returncode not in (0, 1)
    assert why in " ".join(done.stderr.split())
    assert "secret-path" not in done.stderr
    assert not stack.site.query("SELECT 1 FROM destination WHERE name = :name", name=name)
