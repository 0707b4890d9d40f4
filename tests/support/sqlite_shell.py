"""Stands in for SQLite's command-line program where it is not installed, as far as README and docs use it.

`sqlite3 [-header] [-column] FILE SQL`, where SQL is statements or `.backup FILE`.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing


def main() -> None:
    options = {word for word in sys.argv[1:] if word in ("-header", "-column")}
    file, text = (word for word in sys.argv[1:] if word not in options)
    with closing(sqlite3.connect(file, uri=True)) as connection:
        if text.startswith(".backup "):
            with closing(sqlite3.connect(text.split(maxsplit=1)[1])) as copy:
                connection.backup(copy)
            return
        for statement in text.split(";"):
            cursor = connection.execute(statement)
            lines = [[column[0] for column in cursor.description or ()]] if "-header" in options else []
            for line in [*lines, *cursor]:
                cells = ("" if cell is None else str(cell) for cell in line)
                sys.stdout.write(("  " if "-column" in options else "|").join(cells) + "\n")


if __name__ == "__main__":
    main()
