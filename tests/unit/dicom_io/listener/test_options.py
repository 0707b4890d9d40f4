"""The settings of the listener."""

from __future__ import annotations

import ipaddress

import pytest

from dicom_io.listener.options import HostUnguarded, ListenerOptions, ListenerOptionsInvalid
from dicom_io.network.addresses import is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_loopback_needs_no_guard(host: str) -> None:
    assert ListenerOptions(host=host).host == host
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "pacs.example"])
def test_another_host_needs_a_guard(host: str) -> None:
    with pytest.raises(HostUnguarded, match="any_caller"):
        ListenerOptions(host=host)
    ListenerOptions(host=host, any_caller=True)
    ListenerOptions(host=host, allowed_aets=frozenset({"PACS"}))
    ListenerOptions(host=host, allowed_hosts=(ipaddress.ip_network("192.0.2.0/24"),))


@pytest.mark.parametrize(
    "options",
    [
        {"ae_title": ""},
        {"ae_title": "A" * 17},
        {"ae_title": " AUSCULT"},
        {"ae_title": "A\\B"},
        {"ae_title": "RÖNTGEN"},
        {"allowed_aets": frozenset({"A\nB"})},
        {"allowed_aets": frozenset({""})},
        {"allowed_aets": frozenset({"É" * 17})},
        {"port": 65536},
        {"port": -1},
        {"max_associations": 0},
        {"max_pdu": 0},
        {"network_timeout_s": 0.0},
    ],
    ids=str,
)
def test_impossible_settings_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ListenerOptionsInvalid):
        ListenerOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("title", "allowed"),
    [
        pytest.param(b"PACS", True, id="ASCII"),
        pytest.param("RADIOLOGÍA".encode("latin-1"), True, id="ISO 8859-1"),
        pytest.param("RADIOLOGÍA".encode(), True, id="UTF-8"),
        pytest.param(b"RADIOLOGIA", False, id="transliterated"),
        pytest.param(b"RADIOLOGA", False, id="without what is not ASCII"),
        pytest.param("RADIOLOGÍA".encode("cp850"), False, id="another character set"),
        pytest.param(b"pacs", False, id="lower case"),
        pytest.param(b"PACS\0OTHER", False, id="something behind a NUL"),
        pytest.param(b"", False, id="nothing"),
    ],
)
def test_calling_titles_are_compared_byte_by_byte(title: bytes, allowed: bool) -> None:
    assert ListenerOptions(allowed_aets=frozenset({"PACS", "RADIOLOGÍA"})).allows(title) is allowed
    assert ListenerOptions().allows(title)


@pytest.mark.parametrize(
    ("address", "admitted"),
    [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("11.1.2.3", False), ("fe80::1%eth0", True), ("fd00::1", False)],
)
def test_addresses_are_admitted_by_network(address: str, admitted: bool) -> None:
    networks = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fe80::/10"))
    assert ListenerOptions(allowed_hosts=networks).admits(address) is admitted
    assert ListenerOptions().admits(address)
