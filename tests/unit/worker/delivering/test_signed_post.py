from __future__ import annotations

import base64
import socket
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from tests.support.certificates import Site
from tests.support.webhook import SECRET, Dripping, WebhookReceiver
from worker.delivering.signed_post import (
    LONGEST_PAUSE_S,
    Reply,
    WebhookAway,
    endpoint,
    post,
    secrets_of,
    signed_headers,
    trust,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

BODY = b'{"type":"result","data":{"study_id":7}}'
OTHER = base64.b64encode(bytes(range(1, 33))).decode()


def send(
    url: str,
    context: ssl.SSLContext | None = None,
    deadline_s: float = 10.0,
    secret: str = SECRET,
    before: Callable[[], None] = lambda: None,
) -> Reply:
    headers = signed_headers("result-7-1", BODY, secrets_of(secret))
    return post(endpoint(url), BODY, headers, context or trust(None), deadline_s, before=before)


def test_a_receiver_with_the_library_of_the_specification_takes_a_message() -> None:
    with WebhookReceiver() as receiver:
        assert send(receiver.url) == Reply(204)
    assert receiver.messages == [{"type": "result", "data": {"study_id": 7}}]
    assert receiver.ids == ["result-7-1"]
    assert receiver.paths == ["/auscult/hook?token=secret-path"]


@pytest.mark.parametrize("known", [SECRET, OTHER])
def test_while_a_secret_is_changed_receivers_with_either_one_take_messages(known: str) -> None:
    with WebhookReceiver(secret=known) as receiver:
        assert send(receiver.url, secret=f"{OTHER}\nwhsec_{SECRET}\n").is_taken


def test_another_secret_another_body_or_an_old_time_is_not_accepted() -> None:
    check = Webhook(SECRET)
    check.verify(BODY, signed_headers("1", BODY, secrets_of(SECRET)))
    with pytest.raises(WebhookVerificationError):
        check.verify(BODY, signed_headers("1", BODY, secrets_of(OTHER)))
    with pytest.raises(WebhookVerificationError):
        check.verify(BODY + b" ", signed_headers("1", BODY, secrets_of(SECRET)))
    with pytest.raises(WebhookVerificationError):
        check.verify(BODY, signed_headers("2", BODY, secrets_of(SECRET)) | {"webhook-id": "1"})
    with pytest.raises(WebhookVerificationError):
        check.verify(BODY, signed_headers("1", BODY, secrets_of(SECRET), datetime.now(UTC) - timedelta(hours=1)))


@pytest.mark.parametrize(
    ("status", "is_taken", "is_final"),
    [
        (200, True, False),
        (202, True, False),
        (301, False, False),
        (400, False, False),
        (410, False, True),
        (503, False, False),
    ],
)
def test_2xx_alone_has_taken_a_message_and_410_wants_no_more(status: int, is_taken: bool, is_final: bool) -> None:
    with WebhookReceiver() as receiver:
        receiver.answers.append((status, {"location": receiver.url}))
        reply = send(receiver.url)
    assert (reply.status, reply.is_taken, reply.is_final) == (status, is_taken, is_final)
    # A redirect was not followed.
    assert len(receiver.ids) == 1


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("120", 120, 120),
        ("99999999", LONGEST_PAUSE_S, LONGEST_PAUSE_S),
        ("in two hours", 7100, 7200),
        ("two hours ago", 0, 0),
        ("soon", None, None),
        ("-5", None, None),
    ],
)
def test_a_receiver_may_ask_for_a_pause(text: str, low: float | None, high: float | None) -> None:
    with WebhookReceiver() as receiver:
        # As a date, which must be near the moment at which it is sent.
        hours = {"in two hours": 2, "two hours ago": -2}.get(text)
        at = format_datetime(datetime.now(UTC) + timedelta(hours=hours), usegmt=True) if hours else text
        receiver.answers.append((503, {"retry-after": at}))
        pause = send(receiver.url).retry_after_s
    if low is None:
        assert pause is None
    else:
        assert pause is not None
        assert high is not None
        assert low <= pause <= high


def test_over_tls_the_authority_and_the_name_of_the_host_are_checked(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    ours, other_name = site.files("hook", "127.0.0.1"), site.files("other", "other.example")
    with WebhookReceiver(ours) as receiver:
        assert send(receiver.url, trust(ours.authorities)).is_taken
        with pytest.raises(WebhookAway, match="certificate is not accepted"):
            send(receiver.url)
    with WebhookReceiver(other_name) as receiver, pytest.raises(WebhookAway, match="certificate is not accepted"):
        send(receiver.url, trust(other_name.authorities))


def test_a_message_counts_as_begun_once_its_receiver_is_reached_and_known(tmp_path: Path) -> None:
    ours = Site(tmp_path / "site").files("hook", "127.0.0.1")
    begun: list[int] = []
    with WebhookReceiver(ours) as receiver:
        with pytest.raises(WebhookAway):
            send(receiver.url, before=lambda: begun.append(-1))
        send(receiver.url, trust(ours.authorities), before=lambda: begun.append(len(receiver.messages)))
    with pytest.raises(WebhookAway):
        send(receiver.url, trust(ours.authorities), before=lambda: begun.append(-1))
    assert begun == [0]


def test_a_receiver_that_answers_a_byte_at_a_time_is_hung_up() -> None:
    with Dripping() as server:
        with pytest.raises(WebhookAway):
            send(server.url, deadline_s=0.4)
        assert server.is_closed.wait(10)


def test_a_receiver_that_is_away_is_named_without_its_path() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(WebhookAway) as away:
        send(f"http://127.0.0.1:{port}/auscult?token=secret-path")
    assert f"http://127.0.0.1:{port}: " in str(away.value)
    assert "secret-path" not in str(away.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is written"),
        ("hook.site.example/x", "is written"),
        ("ftp://hook.site.example/x", "is written"),
        ("https:///x", "is written"),
        ("https://hook.site.example:0/x", "is written"),
        ("https://hook.site.example:99999/x", "is written"),
        ("https://[::1/x", "is written"),
        ("https://hook.site.example/a b", "is written"),
        ("https://hook.site.example/a\r\nx: y", "is written"),
        ("https://höok.example/", "is written"),
        ("https://user:secret-path@hook.site.example/", "no user"),
        ("https://hook.site.example/#secret-path", "no user"),
        ("http://hook.site.example/secret-path", "https://"),
    ],
)
def test_a_wrong_url_is_refused_and_not_quoted(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        endpoint(text)
    assert "secret-path" not in str(refused.value)


def test_endpoints_are_read_with_their_ports_and_queries() -> None:
    plain = endpoint("https://hook.site.example")
    assert (plain.host, plain.port, plain.target, plain.is_tls) == ("hook.site.example", 443, "/", True)
    local = endpoint("http://[::1]:8080/a?b=c")
    assert (local.host, local.port, local.target, local.is_tls) == ("::1", 8080, "/a?b=c", False)
    assert str(local) == "http://[::1]:8080"


@pytest.mark.parametrize(
    "text", ["", " \n", "c2hvcnQ=", "not base64!", base64.b64encode(bytes(65)).decode(), f"{SECRET}\nshort"]
)
def test_a_secret_that_is_none_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="secret") as refused:
        secrets_of(text)
    assert not text.strip() or text.strip() not in str(refused.value)
