"""The documents that people read, and the blocks in them that people run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
CONSOLE = ("sh", "bash", "shell", "console")
_FENCE = re.compile(
    r"(?:^<!-- not run: (?P<why>[^\n]*) -->\n)?^```(?P<kind>\w+)\n(?P<body>.*?)^```$(?:\n+^```text\n(?P<output>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: why it is not run ("" where it is), and what it must print ("" where nothing is said)."""

    page: str
    line: int
    kind: str
    body: str
    why_not: str
    output: str


def pages() -> list[Path]:
    """README.md, then the pages in the order of the navigation, without those that are generated."""
    found: list[Path] = []

    def walk(entry: object) -> None:
        if isinstance(entry, str):
            found.append(ROOT / "docs" / entry)
        elif isinstance(entry, dict | list):
            for below in entry.values() if isinstance(entry, dict) else entry:
                walk(below)

    walk(YAML(typ="safe").load(ROOT / "mkdocs.yml")["nav"])
    return [ROOT / "README.md", *(path for path in found if path.exists())]


def blocks(path: Path, kinds: tuple[str, ...]) -> list[Block]:
    """The fenced blocks of these kinds in a page."""
    text = path.read_text(encoding="utf-8")
    name = str(path.relative_to(ROOT))
    return [
        Block(
            name,
            text.count("\n", 0, found.start("kind")) + 1,
            found["kind"],
            found["body"],
            found["why"] or "",
            found["output"] or "",
        )
        for found in _FENCE.finditer(text)
        if found["kind"] in kinds
    ]
