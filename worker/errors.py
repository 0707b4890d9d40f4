"""Errors of the worker package: the message is the sentence a person reads.

WorkerError
├── SettingsError           a setting is missing, unknown or contradicts another
├── DatabaseUnavailable     the database does not answer
├── UnsupportedDatabase     the database is too old, not UTF8, or of a kind Auscult does not know
├── SchemaTooOld            `auscult migrate` has not been run
├── SchemaTooNew            the database belongs to a newer Auscult
├── ModelMismatch           the same bundle name and version, other contents
├── NoActiveModel           no model scores new images
└── UsageError              the command line asks for something impossible
"""

from __future__ import annotations


class WorkerError(Exception):
    """Base of all errors that end a command with one line and an exit code."""

    exit_code = 2


class SettingsError(WorkerError):
    """A setting is missing, unknown or contradicts another."""


class DatabaseUnavailable(WorkerError):
    """The database does not answer."""

    #: It may be back in a minute: not the exit code of wrong settings, after which nothing is started again.
    exit_code = 1


class UnsupportedDatabase(WorkerError):
    """The database is too old, not UTF8, or of a kind Auscult does not know."""


class SchemaTooOld(WorkerError):
    """The database has not been migrated to the revision of this release."""


class SchemaTooNew(WorkerError):
    """The database was migrated by a newer release of Auscult."""


class ModelMismatch(WorkerError):
    """A bundle has the name and version of a known model, but other contents."""


class NoActiveModel(WorkerError):
    """No model is active: activate one with 'auscult model activate NAME-VERSION'."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class UsageError(WorkerError):
    """The command line asks for something impossible."""
