"""The address of a syslog receiver."""

from __future__ import annotations

import pytest

from worker.addresses import SyslogReceiver, syslog_receiver
from worker.errors import SettingsError
from worker.settings import load_settings


@pytest.mark.parametrize(
    ("text", "host", "port", "shown"),
    [
        ("tls://arr.example:1234", "arr.example", 1234, "tls://arr.example:1234"),
        ("tls://arr", "arr", 6514, "tls://arr:6514"),
        ("tls://[::1]:99", "::1", 99, "tls://[::1]:99"),
    ],
)
def test_a_receiver_is_a_host_and_a_port(text, host, port, shown):
    assert syslog_receiver(text) == SyslogReceiver(host, port)
    assert str(syslog_receiver(text)) == shown


@pytest.mark.parametrize("text", ["udp://arr:514", "arr:6514", "tls://", "tls://arr:0", "tls://a b", "tls://u:p@arr"])
def test_anything_else_is_refused(text, tmp_path):
    with pytest.raises(ValueError, match="tls://HOST:PORT"):
        syslog_receiver(text)
    with pytest.raises(SettingsError, match="tls://HOST:PORT"):
        load_settings(home=tmp_path, audit_syslog=text)


def test_a_receiver_needs_the_files_of_tls(tmp_path):
    with pytest.raises(SettingsError, match="AUSCULT_AUDIT_SYSLOG needs"):
        load_settings(home=tmp_path, audit_syslog="tls://arr")
