"""Errors of the DICOM side; the docstring of each is its default message.

::

    DicomIoError
    ├── NotDicom            the bytes are not a DICOM object
    ├── HeaderUnreadable    the header cannot be parsed
    ├── FilmError           no film can be made; has the coded reason
    ├── PolicyError         a policy of the gate's settings is invalid
    ├── SpoolError          the inbox or the store cannot be written
    │   └── SpoolFull       ... because there is no space left
    ├── TlsInvalid          a file of the TLS settings is missing or invalid
    ├── PortBusy            the listener's port is taken
    └── PeerUnreachable     a peer does not answer

No message quotes a value of a data set or the text of a library's exception: both may hold patient data.
"""

from __future__ import annotations

from inspect import cleandoc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dicom_io.reasons import Reason


class DicomIoError(Exception):
    """Something failed on the DICOM side."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or cleandoc(type(self).__doc__ or "").partition("\n")[0])


class NotDicom(DicomIoError):
    """The file is neither a DICOM file nor a bare DICOM data set."""


class HeaderUnreadable(DicomIoError):
    """The header of the DICOM object cannot be parsed."""


class FilmError(DicomIoError):
    """No film can be made of the object.

    Parameters
    ----------
    reason : Reason
        The coded reason; its sentence is the message.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.sentence)
        self.reason = reason


class PolicyError(DicomIoError, ValueError):
    """A policy of the gate's settings is invalid."""


class SpoolError(DicomIoError):
    """The inbox or the store cannot be written."""


class SpoolFull(SpoolError):
    """There is no space left for the inbox or the store."""


class PortBusy(DicomIoError):
    """The port is in use by another program."""


class PeerUnreachable(DicomIoError):
    """The DICOM peer does not answer or refuses the association."""
