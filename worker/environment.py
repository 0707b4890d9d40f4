"""The environment: Auscult's own variables are tidied, those that other programs' libraries read are removed.

Libraries read variables of their own: CELERY_BROKER_URL overrides the broker that Celery is given, PGHOSTADDR the host of
a URL. Auscult's settings decide, so such variables are removed from the process before a library reads them. Kubernetes
and Docker set variables for each service (AUSCULT_PORT=tcp://... for one named auscult), which are not settings and are
removed as well. One log line names the removed variables.
"""

from __future__ import annotations

import getpass
import logging
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger(__name__)

PREFIX = "AUSCULT_"

#: Prefixes of Celery, kombu, billiard, psycopg, pydantic, pydicom and libpq, so that later variables are covered too.
_FOREIGN_PREFIXES = ("ALEMBIC_", "CELERY_", "C_", "DJANGO_", "KOMBU_", "PG", "PSYCOPG_", "PYDANTIC_", "PYDICOM_")
_FOREIGN_NAMES = frozenset(
    {
        "AUTOSCALE_KEEPALIVE",
        "DISABLE_TRACEBACKS",
        "EVENTLET_NOBLOCK",
        "FORKED_BY_MULTIPROCESSING",
        "MP_LOG",
        "MP_MAIN_FILE",
        "MULTIPROCESSING_FORKING_DISABLE",
        "NOSETPS",
        "PICKLE_PROTOCOL",
        "REMAP_SIGTERM",
        "TIMER_DEBUG",
        "USE_FAST_LOCALS",
        "_MP_FORK_LOGFILE_",
        "_MP_FORK_LOGFORMAT_",
        "_MP_FORK_LOGLEVEL_",
    }
)
#: Variables that libpq may still read, as sites keep secrets in them: authentication where the URL does not say. None of
#: them chooses a server, a database or the behaviour of a session.
_LIBPQ_KEPT = re.compile(
    r"PG(PASSWORD|PASSFILE|SERVICEFILE|SYSCONFDIR|LOCALEDIR|SSL\w+|REQUIRE\w+|CHANNELBINDING|GSS\w+|KRBSRVNAME"
    r"|M(IN|AX)PROTOCOLVERSION)"
)
#: Service links: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables.
_SERVICE_LINK = re.compile(
    r"AUSCULT_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)", re.IGNORECASE
)
_LINK_PORT = re.compile(r"AUSCULT_(\w+_)?PORT", re.IGNORECASE)
_LINK_VALUE = re.compile(r"\s*[\"']?(tcp|udp|sctp)://", re.IGNORECASE)

_forgotten: set[str] = set()


def forget_foreign() -> None:
    """Remove the variables of other programs from this process, and so from its children."""
    for name in [name for name, value in os.environ.items() if _is_foreign(name, value)]:
        del os.environ[name]
        _forgotten.add(name)


def replace_all(variables: Mapping[str, str]) -> None:
    """Let these be the environment of this process, and of its children."""
    os.environ.clear()
    os.environ.update(variables)


def name_forgotten() -> None:
    """Log once which variables were removed: their names alone, since a value may be a secret."""
    if _forgotten:
        names = ", ".join(sorted(_forgotten))
        _forgotten.clear()
        logger.warning(
            "environment variables of other programs are ignored: %s", names, extra={"action": "other_variables"}
        )


def own_variables() -> dict[str, str]:
    """Auscult's variables by their names in upper case, tidied; an empty one counts as not set."""
    own = {name.upper(): tidy(value) for name, value in os.environ.items() if name.upper().startswith(PREFIX)}
    return {name: value for name, value in own.items() if value}


def tidy(value: str) -> str:
    """A value without the spaces, carriage return and pair of quotes that a file of variables may leave around it."""
    text = value.strip()
    for quote in "\"'":
        inner = text[1:-1]
        if len(text) >= 2 and text[0] == text[-1] == quote and quote not in inner:
            return inner.strip()
    return text


def parts_of(text: str) -> tuple[str, ...]:
    """The entries of a comma-separated list, each tidied; brackets around the list, as of JSON, are left out."""
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    return tuple(part for part in map(tidy, inner.split(",")) if part)


def _is_foreign(name: str, value: str) -> bool:
    if name.upper().startswith(PREFIX):
        is_link = bool(_LINK_PORT.fullmatch(name) and _LINK_VALUE.match(value))
        return is_link or bool(_SERVICE_LINK.fullmatch(name))
    return name in _FOREIGN_NAMES or (name.startswith(_FOREIGN_PREFIXES) and not _LIBPQ_KEPT.fullmatch(name))


def libpq_passwords() -> dict[str, bytes]:
    """What libpq takes a password from where the URL has none: PGPASSWORD, and the file PGPASSFILE or ~/.pgpass."""
    found = {"PGPASSWORD": os.environ["PGPASSWORD"].encode()} if os.environ.get("PGPASSWORD") else {}
    with suppress(OSError, RuntimeError):
        found["PGPASSFILE"] = Path(os.environ.get("PGPASSFILE") or "~/.pgpass").expanduser().read_bytes()
    return found


def login() -> str:
    """The user's login name, or the user's number where the system has no name for it, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def quiet_tensorflow() -> None:
    """Keep TensorFlow from writing to stderr from C++; works only before it is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
