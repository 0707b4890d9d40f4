"""The environment as Auscult takes it: its own variables tidied, those of others forgotten.

The libraries beneath read variables of their own, before or after what they are told: CELERY_BROKER_URL outweighs the
broker that Celery is given, PGHOSTADDR the host of a URL. What decides here is Auscult's settings, so such a variable is
taken out of the process before a library looks. Kubernetes and Docker set variables for each service (AUSCULT_PORT=tcp://...
for one named auscult), which are no settings and are taken out as well. One log line names what was taken out.
"""

from __future__ import annotations

import logging
import os
import re

logger = logging.getLogger(__name__)

PREFIX = "AUSCULT_"

#: Celery, kombu, billiard, psycopg, pydantic, pydicom, libpq: everything of theirs, whatever the next release adds.
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
#: What libpq may still be told by variables, as sites keep secrets there: who proves what to whom, where the URL does not
#: say. None of them chooses a server, a database or the session's behaviour.
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
    """Take the variables of others out of this process, and with it out of its children."""
    for name in [name for name, value in os.environ.items() if _is_foreign(name, value)]:
        del os.environ[name]
        _forgotten.add(name)


def name_forgotten() -> None:
    """Log which variables were taken out, once: their names alone, since a value may be a secret."""
    if _forgotten:
        names = ", ".join(sorted(_forgotten))
        _forgotten.clear()
        logger.warning(
            "environment variables of other programs are ignored: %s", names, extra={"action": "other_variables"}
        )


def own_variables() -> dict[str, str]:
    """Auscult's variables by their names in upper case, tidied; an empty one is one that is not set."""
    own = {name.upper(): tidy(value) for name, value in os.environ.items() if name.upper().startswith(PREFIX)}
    return {name: value for name, value in own.items() if value}


def tidy(value: str) -> str:
    """A value without what files of variables leave around it: spaces, a carriage return, one pair of quotes."""
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
