"""The addresses of broker, database and peers: checked before any connection, and shown without their secrets.

The URLs of broker and database hold passwords, so no message quotes a part of a URL that could not be read.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlencode

from dicom_io.client.peer import Peer, PeerInvalid, parse_peer
from dicom_io.network.addresses import is_foreign_ae_title, plain_address
from worker.errors import SettingsError, UnsupportedDatabase

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sqlalchemy import URL

#: Linux allows 107 bytes in the path of a unix socket (unix(7), sun_path).
LONGEST_SOCKET_PATH = 107
_REDIS_PORT = 6379
SYSLOG_TLS_PORT = 6514
_TCP = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss"}
_SOCKET = ("unix", "redis+socket", "redis+unix", "valkey+unix")
_TLS_OPTIONS = frozenset(
    {
        "ssl_ca_certs",
        "ssl_ca_path",
        "ssl_cert_reqs",
        "ssl_certfile",
        "ssl_check_hostname",
        "ssl_keyfile",
        "ssl_password",
    }
)
_CERT_REQS = ("required", "optional", "none")
_HOST = re.compile(r"(?P<host>[A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+(%\w+)?\])(:(?P<port>[0-9]{1,5}))?")
_PEER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_FINGERPRINT = re.compile(r"sha256([0-9a-f]{64})", re.ASCII)
_CERTIFICATE_FORM = ", with +sha256:HEX behind it where its TLS certificate is named (64 hexadecimal digits)"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ENCODE = "in a user or password write # as %23, / as %2F, ? as %3F, @ as %40, : as %3A and % as %25"
_BROKER_FORMS = "write redis://HOST:PORT/0, rediss://HOST:PORT/0 (TLS) or unix:///PATH/OF/SOCKET"
_DATABASE_FORMS = "write postgresql://user:password@host/name or sqlite:////path"


def socket_url(path: Path) -> str:
    """The broker's URL, as kombu wants it, for a unix socket."""
    return f"redis+socket://{quote(os.fsencode(path))}"


def broker_url(text: str) -> str:
    """Convert the URL of a Redis-compatible server to kombu's form; raises ValueError that says what is wrong."""
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    if separator and scheme.startswith(("sentinel", "redis+sentinel", "redis-sentinel")):
        msg = f"Redis Sentinel is not supported: {_BROKER_FORMS}"
        raise ValueError(msg)
    if not separator or scheme not in (*_TCP, *_SOCKET):
        msg = f"this is not the URL of a Redis-compatible server: {_BROKER_FORMS}"
        raise ValueError(msg)
    authority, path, query = _split(rest, is_socket=scheme in _SOCKET)
    login, _, place = authority.rpartition("@")
    user, _, password = login.partition(":")
    options = _options(query)
    user = unquote(user) or options.pop("username", "")
    password = unquote(password) or options.pop("password", "")
    secret = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user or password else ""
    if scheme in _SOCKET:
        return _unix(secret, place, path, options)
    return _tcp(_TCP[scheme], secret, place, path, options)


def broker_place(url: str) -> str:
    """Name a broker for a message: never its user, password, options or fragment."""
    scheme, _, rest = url.partition("://")
    place = re.split(r"[?#]", rest, maxsplit=1)[0].rpartition("@")[2]
    return f"{scheme}://{place}"


def database_url(text: str | URL) -> URL:
    """Read a database URL; raises SettingsError, or UnsupportedDatabase for another kind of database."""
    # Imported here: most commands that read the settings start faster without a database driver.
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    if isinstance(text, str):
        _check_database_text(text)
    try:
        url = make_url(text)
        if url.port is not None and not 1 <= url.port <= 65535:
            raise ValueError
    except (ArgumentError, ValueError):
        # The text of the error would quote the URL with its password.
        msg = f"AUSCULT_DATABASE_URL is not a database URL: {_DATABASE_FORMS}; {_ENCODE}"
        raise SettingsError(msg) from None
    kind = url.drivername.partition("+")[0].lower()
    if kind == "sqlite":
        return url.set(drivername="sqlite+pysqlite")
    if kind not in ("postgres", "postgresql"):
        msg = "AUSCULT_DATABASE_URL names a kind of database Auscult does not know; use PostgreSQL or SQLite"
        raise UnsupportedDatabase(msg)
    if url.query:
        _check_libpq_options(url)
    return url.set(drivername="postgresql+psycopg")


def describe(url: URL) -> str:
    """Name a database for a message: never its user, password or other options."""
    if url.get_backend_name() == "sqlite":
        return f"the SQLite database {url.database}"
    host = url.host or url.query.get("host") or "the local socket"
    if isinstance(host, tuple):
        host = ", ".join(host)
    port = f":{url.port}" if url.port else ""
    return f"the PostgreSQL database {url.database or ''} at {host}{port}"


@dataclass(frozen=True, slots=True)
class SyslogReceiver:
    """A receiver of syslog over TLS (RFC 5425)."""

    host: str
    port: int = SYSLOG_TLS_PORT

    def __str__(self) -> str:
        """The receiver as settings and commands name it."""
        return f"tls://[{self.host}]:{self.port}" if ":" in self.host else f"tls://{self.host}:{self.port}"


def syslog_receiver(text: str) -> SyslogReceiver:
    """Read tls://HOST or tls://HOST:PORT; raises ValueError."""
    scheme, _, place = text.partition("://")
    found = _HOST.fullmatch(place)
    port = int(found["port"] or SYSLOG_TLS_PORT) if found else 0
    if scheme != "tls" or not found or not found["host"] or not 1 <= port <= 65535:
        msg = "a syslog receiver is written tls://HOST:PORT; without a port it is 6514"
        raise ValueError(msg)
    return SyslogReceiver(found["host"].strip("[]"), port)


def named_peers(entries: Sequence[str]) -> dict[str, Peer]:
    """Read ``NAME=ADDRESS`` entries into peers by name; raises ValueError that names the wrong entry."""
    peers: dict[str, Peer] = {}
    for entry in entries:
        name, separator, address = (part.strip() for part in entry.partition("="))
        if not separator or not _PEER_NAME.fullmatch(name):
            msg = f"'{entry}' is not NAME=AET@HOST:PORT; a name has letters, digits, '-', '_' and '.'"
            raise ValueError(msg)
        if name in peers:
            msg = f"two peers are named {name}"
            raise ValueError(msg)
        try:
            peers[name] = parse_peer(address)
        except PeerInvalid as error:
            msg = f"peer {name}: {error}"
            raise ValueError(msg) from error
    return peers


@dataclass(frozen=True, slots=True)
class ListedSource:
    """A sender that is told by its AE title together with its network, and its TLS certificate where one is named."""

    aet: str
    network: ipaddress.IPv4Network | ipaddress.IPv6Network
    #: SHA-256 of the certificate that it must show; "" where any will do, or none.
    certificate: str = ""

    def is_of(self, aet: str, address: str, certificate: str = "") -> bool:
        """Whether a sender is this one.

        `address` as in file meta information (dicom://10.0.0.1), or numerical; `certificate`: SHA-256 of the one that it
        has shown, "" without TLS.
        """
        if aet != self.aet or (self.certificate and certificate != self.certificate):
            return False
        try:
            host = plain_address(address.removeprefix("dicom://").strip("[]"))
        except ValueError:
            return False
        return ipaddress.ip_address(host) in self.network


def listed_sources(entries: Sequence[str]) -> tuple[ListedSource, ...]:
    """Read ``AET@NETWORK`` or ``AET@NETWORK+sha256:HEX`` entries; raises ValueError that names the wrong entry."""
    return tuple(_listed_source(entry.strip()) for entry in entries)


def _listed_source(entry: str) -> ListedSource:
    aet, separator, bound_to = (part.strip() for part in entry.rpartition("@"))
    network, named, digest = bound_to.partition("+")
    wrong = f"'{entry}' is not AET@NETWORK, such as PACS@10.0.0.0/8 or PACS@10.1.2.3"
    if not separator or not is_foreign_ae_title(aet):
        raise ValueError(wrong)
    try:
        return ListedSource(aet, ipaddress.ip_network(network, strict=False), _fingerprint(digest) if named else "")
    except ValueError:
        raise ValueError(f"{wrong}{_CERTIFICATE_FORM if named else ''}") from None


def _fingerprint(text: str) -> str:
    """The SHA-256 of a certificate as OpenSSL prints it, with or without colons; raises ValueError."""
    found = _FINGERPRINT.fullmatch(text.replace(":", "").lower())
    if found is None:
        raise ValueError
    return found[1]


def _split(rest: str, *, is_socket: bool) -> tuple[str, str, str]:
    """Authority, path and query; raises ValueError for an '@' or '#' of a password that was not encoded."""
    cut = re.search(r"[/?#]", rest)
    at = cut.start() if cut else len(rest)
    authority, tail = rest[:at], rest[at:]
    path, _, query = tail.partition("?")
    is_odd_path = "@" in path and not (is_socket and (not authority or "@" in authority))
    if is_odd_path or "@" in query or "#" in tail or _CONTROL.search(rest):
        raise ValueError(_ENCODE)
    if "://" in tail:
        msg = "name one server: Auscult's processes must all use the same"
        raise ValueError(msg)
    return authority, path, query


def _options(query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    if not set(options) <= _TLS_OPTIONS | {"username", "password", "db", "virtual_host"}:
        # The name is not quoted: it may be the rest of a password that contains a '?'.
        msg = f"an option after '?' is none of db, username, password, {', '.join(sorted(_TLS_OPTIONS))}; {_ENCODE}"
        raise ValueError(msg)
    return options


def _unix(secret: str, place: str, path: str, options: dict[str, str]) -> str:
    socket = unquote(path)
    if place or len(socket) < 2 or set(options) & _TLS_OPTIONS:
        msg = f"a unix socket is written unix:///PATH, without host and TLS; {_ENCODE}"
        raise ValueError(msg)
    if len(os.fsencode(socket)) > LONGEST_SOCKET_PATH:
        msg = f"the path of the unix socket is longer than the {LONGEST_SOCKET_PATH} bytes that Linux allows"
        raise ValueError(msg)
    return f"redis+socket://{secret}{quote(socket)}?virtual_host={_number('', options)}"


def _tcp(scheme: str, secret: str, place: str, path: str, options: dict[str, str]) -> str:
    found = _HOST.fullmatch(place)
    port = int(found["port"] or _REDIS_PORT) if found else 0
    if not found or not 1 <= port <= 65535:
        msg = f"what follows :// is not HOST or HOST:PORT: {_BROKER_FORMS}; {_ENCODE}"
        raise ValueError(msg)
    number = _number(path.strip("/"), options)
    url = f"{scheme}://{secret}{found['host'] or '127.0.0.1'}:{port}/{number}"
    if scheme == "redis" and not options:
        return url
    # kombu would not check the server's certificate unless told to.
    wanted = options.pop("ssl_cert_reqs", "required").lower().removeprefix("cert_")
    if wanted not in _CERT_REQS:
        msg = "ssl_cert_reqs is none of required, optional, none"
        raise ValueError(msg)
    query = urlencode({"ssl_cert_reqs": wanted, **options}, quote_via=quote)
    return f"{url.replace('redis://', 'rediss://', 1)}?{query}"


def _number(path: str, options: dict[str, str]) -> str:
    """The number of the Redis database, from the path or the query."""
    named = options.pop("db", None) or options.pop("virtual_host", None)
    number = path or named or "0"
    if not (number.isascii() and number.isdigit() and len(number) <= 9):
        msg = f"the path of the URL is the number of a Redis database, as /0; {_ENCODE}"
        raise ValueError(msg)
    return number


def _check_database_text(text: str) -> None:
    """Refuse a URL that SQLAlchemy would misread because of a password that is not encoded."""
    rest = text.partition("://")[2]
    before = rest.rpartition("@")[0]
    no_login = "/" in before and ":" not in before.partition("/")[0]
    if not text.lower().startswith("sqlite") and (rest.count("@") > 1 or re.search(r"/.*\?", before) or no_login):
        msg = f"AUSCULT_DATABASE_URL cannot be read with certainty: {_ENCODE}"
        raise SettingsError(msg)
    if _CONTROL.search(text):
        msg = "AUSCULT_DATABASE_URL holds a control character"
        raise SettingsError(msg)


def _check_libpq_options(url: URL) -> None:
    # Imported here: only a URL of PostgreSQL with options needs the driver.
    from psycopg.pq import Conninfo

    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    if not set(url.query) <= known:
        msg = f"AUSCULT_DATABASE_URL has an option after '?' that PostgreSQL's library does not know; {_ENCODE}"
        raise SettingsError(msg)
