"""The file of settings in the data folder, `auscult.toml`."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

from worker.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

#: Where tomllib says that a text is not TOML; the rest of its message may quote the text, which may hold a password.
_PLACE = re.compile(r"at line \d+, column \d+|at end of document")


def read_config(path: Path) -> dict[str, Any]:
    """The values of the file, none where it is not there; raises `SettingsError` that says why it cannot be read."""
    try:
        # Editors on Windows begin a file with a byte order mark.
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except UnicodeDecodeError as error:
        msg = f"{path} is not UTF-8 text: save it as UTF-8, which is what TOML is written in"
        raise SettingsError(msg) from error
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        msg = f'{path} is not TOML{f" {place.group()}" if place else ""}: texts need quotes, as in host = "127.0.0.1"'
        raise SettingsError(msg) from error
    except PermissionError as error:
        msg = (
            f"this account may not read the settings of the data folder, {path}: run the command as the user that Auscult "
            "runs under, or choose another data folder by AUSCULT_HOME"
        )
        raise SettingsError(msg) from error
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror or type(error).__name__}): check the file and its disk"
        raise SettingsError(msg) from error
