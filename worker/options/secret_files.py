"""Secrets that stand in files, as container platforms mount them: AUSCULT_<NAME>_FILE names the file."""

from __future__ import annotations

from pathlib import Path

from worker.environment import PREFIX, tidy
from worker.errors import SettingsError

#: Settings that hold passwords.
SECRETS = ("database_url", "broker_url", "owner_database_url")


def file_of(name: str) -> str:
    """The name, in lower case and without its prefix, of the variable that names the file of a secret."""
    return f"{name}_file"


def secrets_of_files(own: dict[str, str]) -> dict[str, str]:
    """Read the secrets whose files are named.

    Parameters
    ----------
    own : dict of str to str
        Auscult's variables, in lower case and without their prefix.

    Returns
    -------
    dict of str to str
        The secrets by the names of their settings.

    Raises
    ------
    SettingsError
        If a file gives no secret, or the secret stands in the environment too. No value is quoted.
    """
    found = {}
    for name in SECRETS:
        variable, path = f"{PREFIX}{name.upper()}_FILE", own.get(file_of(name))
        if path is None:
            continue
        if name in own:
            msg = f"{variable} and {PREFIX}{name.upper()} are both set: keep one of them"
            raise SettingsError(msg)
        found[name] = _read(variable, Path(path))
    return found


def _read(variable: str, path: Path) -> str:
    try:
        secret = tidy(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        msg = f"{variable} names a file that cannot be read ({type(error).__name__}): check its path and permissions"
        raise SettingsError(msg) from None
    if not secret:
        msg = f"{variable} names an empty file"
        raise SettingsError(msg)
    return secret
