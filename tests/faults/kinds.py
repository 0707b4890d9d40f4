"""The table of all kinds of fault: importing a module of kinds adds them."""

from __future__ import annotations

from tests.faults import kinds_host, kinds_network, kinds_processes, kinds_second, kinds_servers, kinds_work
from tests.faults.turn import KINDS, Kind

__all__ = [
    "KINDS",
    "Kind",
    "kinds_host",
    "kinds_network",
    "kinds_processes",
    "kinds_second",
    "kinds_servers",
    "kinds_work",
]
