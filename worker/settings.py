"""Every setting, from the environment (AUSCULT_*, see ``worker.environment``) and ``auscult.toml``.

Order: environment, then ``auscult.toml`` in the data folder (the same names in lower case, with or without the
prefix), then the defaults below. An unknown name is an error, so that a misspelt one is not ignored.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from dicom_io.listener.options import ListenerOptions
from dicom_io.network.addresses import is_loopback
from dicom_io.network.tls import TlsFiles
from worker.addresses import SyslogReceiver, broker_url, database_url, named_peers, socket_url, syslog_receiver
from worker.environment import PREFIX, forget_foreign, own_variables, parts_of, tidy
from worker.errors import SettingsError
from worker.options.config_file import read_config
from worker.options.delivery import DeliveryOptions
from worker.options.drift import DriftOptions
from worker.options.gate import GateOptions
from worker.options.rejection import RejectionOptions
from worker.options.retention import RetentionOptions
from worker.options.secret_files import SECRETS, file_of, secrets_of_files
from worker.runfiles import RUN_FOLDER, connectable

CONFIG_FILE = "auscult.toml"
#: A worker is silent after this many missed heartbeats.
MISSED_HEARTBEATS = 4
BROKER_SOCKET = "broker.sock"

#: The options of the listener that are settings.
LISTENER_OPTIONS = {option.name: option for option in fields(ListenerOptions) if "description" in option.metadata}

Texts = Annotated[tuple[str, ...], NoDecode]


def default_home() -> Path:
    """The data folder: AUSCULT_HOME, else the user's data folder (XDG Base Directory Specification)."""
    named = own_variables().get(PREFIX + "HOME")
    if named:
        return _expanded(Path(named))
    data = Path(os.environ.get("XDG_DATA_HOME") or "")
    return (data if data.is_absolute() else _expanded(Path("~/.local/share"))) / "auscult"


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        msg = f"{path} begins in a home directory, and this account has none: set AUSCULT_HOME to the data folder"
        raise SettingsError(msg) from None


def _option(name: str) -> Any:
    """Return the field of a setting that is an option of the listener; `ListenerOptions` defines it."""
    option = LISTENER_OPTIONS[name]
    return Field(default=option.default, **option.metadata)


class Settings(DriftOptions, RetentionOptions, RejectionOptions, DeliveryOptions, GateOptions):
    """All settings with their defaults; the documentation quotes every ``description``."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    home: Path = Field(default_factory=default_home, description="data folder: database, store, films, spool, broker")
    database_url: str = Field(default="", description="SQLAlchemy URL; default: SQLite in the data folder")
    owner_database_url: str = Field(
        default="",
        description="URL of the account that owns the tables, for `auscult migrate` and purges of the audit trail alone",
    )
    broker_url: str = Field(default="", description="Redis URL; default: the embedded server's unix socket")
    ae_title: str = _option("ae_title")
    host: str = _option("host")
    port: int = _option("port")
    allowed_aets: Texts = _option("allowed_aets")
    allowed_hosts: Texts = _option("allowed_hosts")
    any_caller: bool = _option("any_caller")
    check_called_aet: bool = _option("check_called_aet")
    accept_user_identity: bool = _option("accept_user_identity")
    max_associations: int = _option("max_associations")
    max_per_peer: int = _option("max_per_peer")
    max_pdu: int = _option("max_pdu")
    max_object_mb: int = _option("max_object_mb")
    max_memory_mb: int = _option("max_memory_mb")
    min_free_mb: int = _option("min_free_mb")
    min_free_inodes: int = _option("min_free_inodes")
    max_waiting_objects: int = _option("max_waiting_objects")
    request_timeout_s: float = _option("request_timeout_s")
    pdu_timeout_s: float = _option("pdu_timeout_s")
    network_timeout_s: float = _option("network_timeout_s")
    association_timeout_s: float = _option("association_timeout_s")
    tls_cert: Path | None = Field(
        default=None,
        description="own certificate chain, PEM; with all three files the port speaks TLS and nothing else",
    )
    tls_key: Path | None = Field(default=None, description="private key of the certificate, PEM without passphrase")
    tls_ca: Path | None = Field(default=None, description="certificate authorities of the peers, PEM")
    peers: Texts = Field(
        default=(),
        description="other systems by name, comma separated: NAME=AET@HOST:PORT or NAME=dicom-tls://AET@HOST:PORT",
    )
    audit_syslog: str = Field(
        default="",
        description="syslog receiver of the audit trail, tls://HOST:PORT; needs the three files of TLS",
    )
    quiet_s: float = Field(default=30.0, ge=0, le=86400, description="quiet time after which a study is complete")
    max_wait_s: float = Field(default=900.0, ge=1, description="longest wait for a study whose objects keep coming")
    lease_s: float = Field(default=60.0, ge=1, description="lease of a claimed task, on the database's clock")
    tick_s: float = Field(default=0.0, ge=0, description="interval of the dispatcher; 0: 2 s with SQLite, else 10 s")
    max_attempts: int = Field(default=3, ge=1, le=20, description="attempts before a task ends FAILED")
    retry_backoff_s: float = Field(default=5.0, ge=0, description="pause before the second attempt; doubles each time")
    heartbeat_s: float = Field(default=5.0, ge=0.1, description="interval of a worker's heartbeat in SQL")
    task_limit_s: float = Field(default=300.0, ge=10, description="hard limit for the work on one film")
    film_memory_mb: int = Field(default=2048, ge=64, description="memory that reading one film may take, MiB")
    model: str = Field(default="auscult-2", description="the bundle that the very first start activates")
    models_dir: Path | None = Field(default=None, description="folder of further bundles, searched first")
    store_dir: Path | None = Field(
        default=None, description="folder of stored objects and films; default: the data folder"
    )
    engine: Literal["litert", "keras"] = Field(default="litert", description="what computes the network")
    processes: int = Field(default=1, ge=1, le=256, description="worker processes of `auscult up`")
    log: Literal["debug", "info", "warning", "error"] = Field(default="info", description="log level")
    log_format: Literal["auto", "text", "json"] = Field(
        default="auto", description="auto: text on a terminal, else json"
    )

    @field_validator("allowed_aets", "allowed_hosts", "peers", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, dict):
            # A table of auscult.toml.
            return tuple(f"{name}={entry}" for name, entry in value.items())
        return parts_of(value) if isinstance(value, str) else value

    @field_validator("broker_url")
    @classmethod
    def _broker(cls, value: str) -> str:
        return broker_url(value) if value else value

    @field_validator("database_url", "owner_database_url")
    @classmethod
    def _database(cls, value: str) -> str:
        if value:
            database_url(value)
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            ipaddress.ip_network(text, strict=False)
        return value

    @field_validator("audit_syslog")
    @classmethod
    def _syslog(cls, value: str) -> str:
        return str(syslog_receiver(value)) if value else value

    @field_validator("peers")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        named_peers(value)
        return value

    @field_validator("home", "models_dir", "store_dir", "tls_cert", "tls_key", "tls_ca", "webhook_secrets")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return _expanded(value) if value else value

    @model_validator(mode="after")
    def _guarded(self) -> Settings:
        if not (is_loopback(self.host) or self.allowed_aets or self.allowed_hosts or self.any_caller):
            msg = (
                f"host {self.host} is reachable by others: name who may send "
                "(AUSCULT_ALLOWED_AETS, AUSCULT_ALLOWED_HOSTS) or set AUSCULT_ANY_CALLER=true"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _whole_tls(self) -> Settings:
        if len({path is None for path in (self.tls_cert, self.tls_key, self.tls_ca)}) > 1:
            msg = "TLS needs all of AUSCULT_TLS_CERT, AUSCULT_TLS_KEY and AUSCULT_TLS_CA"
            raise ValueError(msg)
        if self.audit_syslog and self.tls_cert is None:
            msg = "AUSCULT_AUDIT_SYSLOG needs AUSCULT_TLS_CERT, AUSCULT_TLS_KEY and AUSCULT_TLS_CA"
            raise ValueError(msg)
        if self.names_certificates and self.tls_cert is None:
            msg = "AUSCULT_REJECTION_SOURCES names a certificate: it needs AUSCULT_TLS_CERT, AUSCULT_TLS_KEY and AUSCULT_TLS_CA"
            raise ValueError(msg)
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line over environment over file; no dotenv, no secrets folder."""
        return init_settings, _Environment(settings_cls), _TomlFile(settings_cls)

    @property
    def listener(self) -> ListenerOptions:
        """The options of the listener; raises ListenerOptionsInvalid where an AE title is impossible."""
        options = {name: getattr(self, name) for name in LISTENER_OPTIONS}
        options["allowed_hosts"] = tuple(ipaddress.ip_network(text, strict=False) for text in self.allowed_hosts)
        return ListenerOptions(**options, tls=self.tls, storage_commitment=self.commitment_days > 0)

    @property
    def tls(self) -> TlsFiles | None:
        """The files of TLS, for the listener and for calls to peers; None: both speak plain DICOM."""
        if self.tls_cert and self.tls_key and self.tls_ca:
            return TlsFiles(self.tls_cert, self.tls_key, self.tls_ca)
        return None

    @property
    def syslog(self) -> SyslogReceiver | None:
        """The syslog receiver of the audit trail."""
        return syslog_receiver(self.audit_syslog) if self.audit_syslog else None

    @property
    def is_embedded(self) -> bool:
        """Whether the database is the embedded SQLite."""
        return not self.database_url or self.database_url.startswith("sqlite")

    @property
    def database(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite:///{quote(os.fsencode(self.home / 'auscult.db'))}"

    @property
    def broker_socket(self) -> Path:
        """Unix socket of the embedded broker, by a path that a client can connect to."""
        return connectable(self.home, BROKER_SOCKET)

    @property
    def broker(self) -> str:
        """The broker's URL."""
        return self.broker_url or socket_url(self.broker_socket)

    @property
    def tick(self) -> float:
        """The dispatcher's tick in seconds."""
        return self.tick_s or (2.0 if self.is_embedded else 10.0)

    @property
    def silent_after_ms(self) -> int:
        """The age in milliseconds from which a worker's last heartbeat no longer counts as a sign of life."""
        return round(self.heartbeat_s * MISSED_HEARTBEATS * 1000)

    @property
    def spool(self) -> Path:
        """The listener's durable inbox: always on the listener's own disk."""
        return self.home / "spool"

    @property
    def store(self) -> Path:
        """Stored objects: shared by listeners and workers."""
        return (self.store_dir or self.home) / "store"

    @property
    def films(self) -> Path:
        """Decoded films: shared by workers."""
        return (self.store_dir or self.home) / "films"

    @property
    def models(self) -> Path:
        """Imported bundles: shared by listeners and workers, as the store is."""
        return (self.store_dir or self.home) / "models"

    @property
    def bundle_folders(self) -> tuple[Path, ...]:
        """Folders of further bundles, beside those in the package: the site's own, the shared one, the data folder's."""
        own = (self.models_dir,) if self.models_dir else ()
        return tuple(dict.fromkeys((*own, self.models, self.home / "models")))


class _Source(PydanticBaseSettingsSource):
    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - pydantic's signature
        return None, field_name, False


class _Environment(_Source):
    """The variables AUSCULT_*; ``load_settings`` has refused unknown ones."""

    def __call__(self) -> dict[str, Any]:
        own = {name.removeprefix(PREFIX).lower(): value for name, value in own_variables().items()}
        return {name: value for name, value in own.items() if name in Settings.model_fields} | secrets_of_files(own)


class _TomlFile(_Source):
    """``auscult.toml`` of the data folder."""

    def __call__(self) -> dict[str, Any]:
        path = Path(self.current_state.get("home") or default_home()) / CONFIG_FILE
        return {name.lower().removeprefix(PREFIX.lower()): _tidied(value) for name, value in read_config(path).items()}


def port_file(settings: Settings) -> Path:
    """The file in which a listener writes its port for other processes."""
    return run_folder(settings) / "listener.port"


def run_folder(settings: Settings) -> Path:
    """The folder of the files by which the processes of this data folder find each other."""
    return settings.home / RUN_FOLDER


def child_environment(settings: Settings) -> dict[str, str]:
    """The environment that gives a child the same settings as this process, command line included; no owner's URL.

    A child reads the secrets that stand in files from there, as this process did.
    """
    in_files = {name for name in SECRETS if PREFIX + file_of(name).upper() in own_variables()}
    values = settings.model_dump(exclude_unset=True, exclude={"owner_database_url", *in_files})
    own = {PREFIX + name.upper(): _as_text(value) for name, value in values.items() if value is not None}
    owners = {PREFIX + "OWNER_DATABASE_URL", PREFIX + file_of("owner_database_url").upper()}
    kept = {name: value for name, value in os.environ.items() if name.upper() not in owners}
    return {**kept, **own}


def load_settings(**overrides: Any) -> Settings:
    """Read all settings; raises SettingsError with one line that names each wrong one."""
    given = {name: value for name, value in overrides.items() if value is not None}
    forget_foreign()
    unknown = sorted(name for name in own_variables() if name.removeprefix(PREFIX).lower() not in _known_names())
    if unknown:
        msg = f"unknown setting {', '.join(map(_with_nearest, unknown))}: see the documentation, page Settings"
        raise SettingsError(msg)
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError("; ".join(_sentence(item) for item in error.errors())) from None


def _known_names() -> set[str]:
    return {*Settings.model_fields, *map(file_of, SECRETS), "test_data"}


def _with_nearest(name: str) -> str:
    """The name of an unknown setting, and the one that may be meant."""
    near = get_close_matches(name.lower().removeprefix(PREFIX.lower()), _known_names(), 1)
    return f"{name} (do you mean {PREFIX}{near[0].upper()}?)" if near else name


def _tidied(value: object) -> object:
    if isinstance(value, list):
        return [_tidied(entry) for entry in value]
    return tidy(value) if isinstance(value, str) else value


def _as_text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _sentence(item: Any) -> str:
    text = str(item["msg"]).removeprefix("Value error, ")
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"unknown setting {_with_nearest(where)} in {CONFIG_FILE}: see the documentation, page Settings"
    return f"setting {where}: {text}" if where else text
