"""Limits of one association that we accept. It has a module of its own, as settings must not load pynetdicom."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AssociationLimits:
    """Sizes and times of one association.

    A field whose metadata has a `description` is a setting of the site; see `ListenerOptions`.
    """

    #: More than 64 KiB gains nothing, and 0 (unlimited) would be no bound.
    max_pdu: int = field(
        default=131072, metadata={"description": "largest PDU received, bytes", "ge": 4096, "le": 1048576}
    )
    max_object_mb: int = field(
        default=512,
        metadata={
            "description": "largest object received, MiB; a larger one is answered 0xC214, and cut off at twice the size",
            "ge": 1,
        },
    )
    #: A TLS handshake may take as long again.
    request_timeout_s: float = field(
        default=15.0,
        metadata={
            "description": "longest time from the connection, or the TLS handshake, to the association request",
            "gt": 0,
        },
    )
    #: Where others wait for memory, also the time until the next PDU begins.
    pdu_timeout_s: float = field(
        default=60.0, metadata={"description": "longest time from the first byte of a PDU to its last", "gt": 0}
    )
    #: Between objects or inside one.
    network_timeout_s: float = field(
        default=120.0, metadata={"description": "longest silence of an association", "gt": 0}
    )
    association_timeout_s: float = field(
        default=86400.0, metadata={"description": "longest duration of an association, busy or not", "gt": 0}
    )

    #: Whether Storage Commitment is negotiated: who offers it promises to keep what it commits (PS3.4 J.1).
    storage_commitment: bool = False

    @property
    def max_object_bytes(self) -> int:
        """Largest data set received, bytes."""
        return self.max_object_mb << 20
