"""What dicom_io relies on in pynetdicom beyond its documented interface, so that an update cannot take it away unseen.

A new version of pynetdicom may rename or remove these. Then the listener would not fail at once: an override that
nothing calls any more only loses a bound.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pynetdicom
import pytest
from pynetdicom import _config, _globals
from pynetdicom.acse import ACSE
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_AC, P_DATA_TF
from pynetdicom.pdu_primitives import A_ASSOCIATE, P_DATA
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AddressInformation, AssociationServer, AssociationSocket, RequestHandler

from tests.support.documents import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The rooms of dicom_io that use pynetdicom.
ROOMS = ("network", "upper_layer", "client", "listener", "inbox")

#: Methods and class attributes that our subclasses override.
OVERRIDDEN: dict[type, set[str]] = {
    ApplicationEntity: {"_create_socket"},
    Association: {"run_reactor", "_serve_request"},
    ACSE: {"_negotiate_as_acceptor"},
    DULServiceProvider: {
        *("_is_transport_event", "_read_pdu_data", "_decode_pdu", "_process_recv_primitive", "_send"),
        *("idle_timer_expired", "run_reactor", "kill_dul", "stop_dul", "send_pdu"),
    },
    DIMSEServiceProvider: {"get_msg"},
    AssociationSocket: {"_create_socket", "close", "connect", "ready", "recv", "send"},
    AssociationServer: {"get_request", "verify_request", "handle_error", "shutdown", "request_queue_size"},
    RequestHandler: {"_create_association"},
    P_DATA_TF: {"encode"},
}

#: Members, private or undocumented, that we read, set or call.
USED: dict[type, set[str]] = {
    Association: {
        *("_accepted_cx", "_rejected_cx", "_kill", "_reactor_checkpoint", "_server", "set_socket"),
        *("acse", "dul", "dimse", "requestor", "acceptor"),
    },
    ACSE: {"_assoc", "send_accept", "send_reject"},
    DULServiceProvider: {
        *("_idle_timer", "_recv_pdu", "_run_loop_delay"),
        *("event_queue", "state_machine", "socket", "to_provider_queue", "to_user_queue"),
    },
    AssociationSocket: {"_is_connected", "_ready", "assoc", "event_queue", "provider_queue", "socket"},
    AssociationServer: {"active_associations", "ae_title", "server_close"},
    RequestHandler: {"ae", "local", "remote"},
    PresentationContext: {"_as_scp", "_as_scu", "_context_id"},
    AddressInformation: {"address", "as_tuple", "from_tuple"},
    A_ABORT_RQ: {"source", "reason_diagnostic"},
    A_ASSOCIATE_AC: {"encode"},
    P_DATA_TF: {"presentation_data_value_items"},
    A_ASSOCIATE: {"maximum_length_received"},
    P_DATA: {"presentation_data_value_list"},
}

#: Members of members and of modules.
OTHERS = {
    "association.acceptor._common_ext": lambda: association().acceptor._common_ext,
    "association.dimse.msg_queue": lambda: association().dimse.msg_queue,
    "association.dimse.message": lambda: association().dimse.message,
    "association.dul.state_machine.current_state": lambda: association().dul.state_machine.current_state,
    "_config.VALIDATORS": lambda: _config.VALIDATORS["UI"],
    "_config.LOG_HANDLER_LEVEL": lambda: _config.LOG_HANDLER_LEVEL,
    "_config.LOG_REQUEST_IDENTIFIERS": lambda: _config.LOG_REQUEST_IDENTIFIERS,
    "_config.LOG_RESPONSE_IDENTIFIERS": lambda: _config.LOG_RESPONSE_IDENTIFIERS,
    "_config.STORE_SEND_CHUNKED_DATASET": lambda: _config.STORE_SEND_CHUNKED_DATASET,
    "_globals.MODE_ACCEPTOR": lambda: _globals.MODE_ACCEPTOR,
}


def association() -> Association:
    return Association(ApplicationEntity(), _globals.MODE_ACCEPTOR)


def instance_of(kind: type) -> Any:
    """An instance with what its constructor sets, or the class where an instance needs a connection."""
    made = {
        Association: association,
        ACSE: lambda: association().acse,
        DIMSEServiceProvider: lambda: association().dimse,
        DULServiceProvider: lambda: association().dul,
        AddressInformation: lambda: AddressInformation("127.0.0.1", 0),
    }
    if kind in made:
        return made[kind]()
    return kind if kind in (AssociationServer, AssociationSocket, RequestHandler, ApplicationEntity) else kind()


def missing_of(kind: type, names: set[str]) -> list[str]:
    """A sentence for each member that is gone."""
    instance, source = instance_of(kind), inspect.getsource(kind)
    gone = sorted(
        name for name in names if not hasattr(instance, name) and not re.search(rf"self\.{name}(: \S+)? =", source)
    )
    return [
        f"pynetdicom {pynetdicom.__version__} has no {kind.__name__}.{name} any more. dicom_io relies on it: find out what "
        "replaces it before the pin in pyproject.toml is raised."
        for name in gone
    ]


@pytest.mark.parametrize("kind", sorted(OVERRIDDEN.keys() | USED.keys(), key=str))
def test_every_member_that_dicom_io_relies_on_is_there(kind: type) -> None:
    assert missing_of(kind, OVERRIDDEN.get(kind, set()) | USED.get(kind, set())) == []


@pytest.mark.parametrize("name", OTHERS)
def test_every_attribute_that_dicom_io_relies_on_is_there(name: str) -> None:
    try:
        OTHERS[name]()
    except (AttributeError, LookupError):
        pytest.fail(f"pynetdicom {pynetdicom.__version__} has no {name} any more, which dicom_io relies on")


def test_a_member_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(DULServiceProvider, "_is_transport_event")
    (sentence,) = missing_of(DULServiceProvider, OVERRIDDEN[DULServiceProvider])
    assert "has no DULServiceProvider._is_transport_event any more" in sentence


def subclasses_of_ours() -> Iterator[tuple[type, type]]:
    """Each class of dicom_io that derives from one of pynetdicom, with that class."""
    for room in ROOMS:
        package = importlib.import_module(f"dicom_io.{room}")
        for info in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"dicom_io.{room}.{info.name}")
            for kind in vars(module).values():
                if inspect.isclass(kind) and kind.__module__ == module.__name__:
                    theirs = [base for base in kind.__mro__ if base.__module__.startswith("pynetdicom")]
                    if theirs:
                        yield kind, theirs[0]


def overrides_of(kind: type) -> set[str]:
    """The members of a class of ours that a class of another library has too, without the special methods."""
    bases = [base for base in kind.__mro__[1:] if not base.__module__.startswith(("dicom_io", "builtins"))]
    known = {name for base in bases for name in vars(base)}
    return {name for name in vars(kind) if name in known and not name.startswith("__")}


def test_every_override_is_named_above_and_takes_as_many_arguments() -> None:
    found: dict[type, set[str]] = {}
    for kind, theirs in subclasses_of_ours():
        overrides = overrides_of(kind)
        found.setdefault(theirs, set()).update(overrides)
        for name in overrides:
            our_own, their_own = getattr(kind, name), getattr(theirs, name)
            if inspect.isfunction(our_own):
                numbers = [len(inspect.signature(member).parameters) for member in (our_own, their_own)]
                assert numbers[0] == numbers[1], f"{kind.__name__}.{name} takes other arguments than pynetdicom's"
    assert {kind: names for kind, names in found.items() if names} == OVERRIDDEN


def private_names(file: Path, *, of_self: bool) -> set[str]:
    """The private attributes that a module names; those of `self` only where that is asked for."""
    attributes = [
        node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Attribute)
    ]
    return {
        node.attr
        for node in attributes
        if node.attr.startswith("_")
        and not node.attr.startswith("__")
        and (of_self or not (isinstance(node.value, ast.Name) and node.value.id == "self"))
    }


def test_every_private_member_that_is_used_is_named_above() -> None:
    # In a class that derives from none of pynetdicom's, an attribute of `self` is ours.
    deriving = {inspect.getfile(kind) for kind, _ in subclasses_of_ours()}
    files = [file for room in ROOMS for file in (ROOT / "dicom_io" / room).glob("*.py")]
    ours = set[str]().union(*(private_names(file, of_self=str(file) in deriving) for file in files))
    sources = Path(pynetdicom.__file__).parent.glob("*.py")
    theirs = set[str]().union(*(private_names(file, of_self=True) for file in sources))
    named = set[str]().union(*OVERRIDDEN.values(), *USED.values(), (name.rpartition(".")[2] for name in OTHERS))
    assert "_accepted_cx" in ours & theirs
    assert (ours & theirs) - named == set()


def test_pynetdicom_is_pinned_to_the_version_that_is_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (pinned,) = [name for name in project["dependencies"] if name.startswith("pynetdicom")]
    assert pinned == f"pynetdicom=={version('pynetdicom')}"
