"""The pages that are not in `docs/`: the reference, generated from the code, and the documents of the root.

mkdocs calls `on_files` and `on_page_markdown`. Generated pages are not committed, so they are never out of date.
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import typer
from mkdocs.structure.files import File

from benchmarks.churn import tables as churn
from benchmarks.ingest import tables as ingest
from benchmarks.memory import tables as memory
from benchmarks.peers import tables as peers
from benchmarks.rerun import tables as rerun
from benchmarks.scaling import tables as scaling
from benchmarks.stages import tables as stages
from benchmarks.start import tables as start
from dicom_io.gate.rules import RULES, Policy
from dicom_io.inbox.status import StoreStatus
from dicom_io.reasons import STUDY_REASONS, Outcome, Reason
from worker.cli.command import app
from worker.db.contract.views import VIEWS
from worker.db.read.probes import Probe
from worker.db.schema.states import BatchKind, ConflictEnd, ConflictKind, Level, ModelState, StudyState, TaskState
from worker.environment import PREFIX
from worker.fetching.study import Fate
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from enum import StrEnum

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
VIEW_TEXTS = ROOT / "migrations" / "views"
#: The last long runs of the fault suite (`python3 dev.py faults --out`), which the page of promises shows.
FAULT_RUNS = ROOT / "benchmarks" / "faults"
FAULT_TABLES = "<!-- fault tables -->"
#: The last runs of `python3 dev.py bench sql`, with a picture each.
SQL_RUNS = ROOT / "benchmarks" / "sql"
SQL_TABLES = "<!-- sql tables -->"
#: The last runs of `python3 dev.py bench` whose tables are on the pages of performance and receiving, with a picture each.
BENCHES: dict[str, Callable[[dict[str, Any]], str]] = {
    "peers": peers.tables,
    "ingest": ingest.tables,
    "memory": memory.tables,
    "start": start.tables,
    "rerun": rerun.tables,
    "scaling": scaling.tables,
    "churn": churn.tables,
    "stages": stages.tables,
}
#: Documents at the root of the repository that are also pages.
DOCUMENTS = ("ARCHITECTURE.md", "CONFORMANCE.md", "HAZARDS.md", "CONTRIBUTING.md", "CHANGELOG.md")
_VIEW_VERSION = re.compile(r"_(\d+)$")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages and the documents of the root."""
    for name, write in REFERENCE.items():
        files.append(File.generated(config, f"reference/{name}.md", content=write()))
    for picture in sorted(SQL_RUNS.glob("*.png")):
        files.append(File.generated(config, f"scale-{picture.name}", abs_src_path=str(picture)))
    for name in BENCHES:
        picture = ROOT / "benchmarks" / name / f"{name}.png"
        if picture.exists():
            files.append(File.generated(config, f"performance-{name}.png", abs_src_path=str(picture)))
    for name in DOCUMENTS:
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, name.lower(), content=for_markdown(text)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Change links to documents of the root into links to their pages, and remove links to other files of the root."""
    markdown = markdown.replace(FAULT_TABLES, fault_tables()).replace(SQL_TABLES, sql_tables())
    for name, tables in BENCHES.items():
        markdown = markdown.replace(f"<!-- {name} tables -->", bench_tables(name, tables))
    up = "../" * page.file.src_uri.count("/")
    for name in DOCUMENTS:
        markdown = re.sub(rf"\]\((?:\.\./)*{re.escape(name)}(#[^)]*)?\)", rf"]({up}{name.lower()}\1)", markdown)
    return re.sub(r"\[([^]]+)\]\((?:\.\./)*(?:LICENSE|README\.md)\)", r"\1", markdown)


def fault_tables() -> str:
    """Return the tables of the last long runs of the fault suite, one for each database."""
    parts = []
    for path in sorted(FAULT_RUNS.glob("*.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        head = [
            "group",
            "kind of fault",
            "rounds",
            "studies",
            "lost",
            "doubled",
            "stuck",
            "silent",
            "wrong",
            "whole after",
        ]
        names = ("group", "kind", "rounds", "studies", "lost", "doubled", "stuck", "silent", "wrong")
        rows = [[*(row[name] for name in names), f"{row['slowest_recovery_s']:.0f} s"] for row in run["kinds"]]
        parts.append(
            f"### On {run['database']}\n\n{run['line']}.\n\n{run['date']}, commit {run['commit']}, seed {run['seed']}, "
            f"a round of each kind and {run['minutes']:g} minutes at least, on {run['machine']}. The reader polled "
            f"{run['polls']} times. Longest time for which "
            f'NORMAL stood after a later film was acknowledged: {run["longest_late_s"]} s. "Whole after" is the slowest '
            "round from the healing of the fault to the last terminal study, restarts included.\n\n" + table(head, rows)
        )
    return "\n".join(parts) or "No long run is on record yet. The short form runs with the tests, on both databases."


def sql_tables() -> str:
    """The last run of the statements on each database: the times by size, and what is read on the largest."""
    parts = []
    for path in sorted(SQL_RUNS.glob("*.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        sizes = [f"{size:,}" for size in run["sizes"]]
        head = ["statement", *(f"{size} studies, ms (CPU)" for size in sizes), "ratio"]
        rows = [
            [
                row["name"],
                *(f"{ms:.2f} ({cpu:.2f})" for ms, cpu in zip(row["ms"], row["cpu_ms"], strict=True)),
                row["ratio"],
            ]
            for row in run["rows"]
        ]
        plans = [
            [name, "<br>".join(f"`{line}`" for line in dict.fromkeys(line for one in found for line in one["plan"]))]
            for name, found in run["plans"].items()
        ]
        parts.append(
            f"## On {run['database']}\n\n{run['date']}, commit {run['commit']}, {run['machine']}; medians of {run['rounds']} "
            f"turns. Ratio: the largest over the smallest, in the same turn; the target is {run['target']:g} at most.\n\n"
            f"![Time over size](scale-{path.stem}.png)\n\n{table(head, rows)}\n\n"
            f'??? note "What each reads on {sizes[-1]} studies"\n\n'
            + "\n".join(f"    {line}" for line in table(["statement", "plan, without costs"], plans).splitlines())
        )
    return "\n\n".join(parts)


def bench_tables(name: str, tables: Callable[[dict[str, Any]], str]) -> str:
    """The picture and the tables of the last run of a benchmark."""
    path = ROOT / "benchmarks" / name / f"{name}.json"
    if not path.exists():
        return "No run is on record yet."
    text = tables(json.loads(path.read_text(encoding="utf-8")))
    return f"![{name}](performance-{name}.png)\n\n{text}" if path.with_suffix(".png").exists() else text


def for_markdown(text: str) -> str:
    """Adapt text written for GitHub to Python-Markdown: comments before tables, and list items indented by 3 spaces."""
    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    for index in range(0, len(parts), 2):
        parts[index] = re.sub(r"^(<!--.*-->)\n(?=\S)", r"\1\n\n", parts[index], flags=re.MULTILINE)
        parts[index] = re.sub(r"^ {3}(?=\S)", " " * 4, parts[index], flags=re.MULTILINE)
    return "".join(parts)


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table."""
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *([str(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def plain(text: str) -> str:
    """Return text with the special characters of Markdown and HTML escaped."""
    return re.sub(r"([<>*_\[\]])", lambda found: f"&#{ord(found[0])};", " ".join(text.split()))


# Commands


def verbs() -> Iterator[tuple[str, Any]]:
    """Yield every command of the command line with its full name, sorted."""
    for name, command in sorted(typer.main.get_command(app).commands.items()):  # type: ignore[attr-defined]
        if hasattr(command, "commands"):
            yield from ((f"{name} {verb}", found) for verb, found in sorted(command.commands.items()))
        else:
            yield name, command


def commands() -> str:
    """Return the page of the command line."""
    found = list(verbs())
    text = "# Commands\n\nThis page is generated from the code. `auscult COMMAND --help` says the same.\n\n"
    text += table(["command", "what it does"], ([link(name), plain(first_line(verb))] for name, verb in found))
    text += (
        "\nExit codes: 0 done, 1 some failed, 2 wrong usage or settings, or nothing found, 130 ended by Ctrl-C; "
        "`auscult status`: 0 well, 1 warning, 3 failing. `--json` prints one JSON document, `--csv` its rows. "
        "`auscult --version` prints the version.\n"
    )
    return text + "".join(command_section(name, verb) for name, verb in found)


def link(name: str) -> str:
    """Return a command's name as a link to its section."""
    return f"[`auscult {name}`](#auscult-{name.replace(' ', '-')})"


def first_line(command: Any) -> str:
    """Return the first paragraph of a command's help."""
    return str(command.help or "").partition("\n\n")[0]


def command_section(name: str, command: Any) -> str:
    """Return the section of a command: usage, help, arguments and options."""
    shown = [param for param in command.params if not getattr(param, "hidden", False)]
    arguments = [param for param in shown if param.param_type_name == "argument"]
    usage = " ".join([f"auscult {name}", *map(argument, arguments), "[OPTIONS]"])
    text = f"\n## `auscult {name}` {{ #auscult-{name.replace(' ', '-')} }}\n\n    {usage}\n\n"
    text += "\n\n".join(plain(part) for part in str(command.help or "").split("\n\n")) + "\n\n"
    rows = [[spelling(param), plain(param.help or ""), default(param.default)] for param in shown]
    return text + (table(["argument or option", "what", "default"], rows) if rows else "")


def argument(param: Any) -> str:
    """Return an argument as in a usage line."""
    name = value_name(param) + ("..." if param.nargs == -1 else "")
    return name if param.required else f"[{name}]"


def value_name(param: Any) -> str:
    """Return the name of the value that an argument or option takes."""
    return str(param.metavar or param.name.upper())


def spelling(param: Any) -> str:
    """Return how an argument or option is written."""
    if param.param_type_name == "argument":
        return f"`{argument(param)}`"
    names = ", ".join(f"`{name}`" for name in [*param.opts, *param.secondary_opts])
    return names if param.is_flag else f"{names} `{value_name(param)}`"


def default(value: object) -> str:
    """Return a default as a cell; an empty one where there is none."""
    if callable(value) or value is None or value is False or value in ("", (), []):
        return ""
    return f"`{value}`"


# Settings


def settings() -> str:
    """Return the page of the settings."""
    text = (
        "# Settings\n\nThis page is generated from the code. A setting comes from the environment, else in lower case "
        f"from `auscult.toml` in the data folder (with or without `{PREFIX.lower()}`), else from the default. "
        "A name that is not a setting is an error.\n\n"
    )
    rows = []
    # Those of a part of the system, which have a class of their own, come last.
    own = sorted(Settings.model_fields.items(), key=lambda item: item[0] not in Settings.__annotations__)
    for name, field in own:
        value = "~/.local/share/auscult" if name == "home" else field.default
        shown = default(str(value).lower() if isinstance(value, bool) else value)
        rows.append([f"`{PREFIX}{name.upper()}`", shown, allowed(field), field.description])
    return text + table(["variable", "default", "allowed", "what"], rows)


def allowed(field: Any) -> str:
    """Return the range of a setting, or its possible values; "" where it has neither."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{word}`" for word in get_args(field.annotation))
    names = {"gt": "above", "ge": "from", "le": "to", "max_length": "up to"}
    parts = [(each, key) for each in field.metadata for key in names if hasattr(each, key)]
    bounds = [f"{names[key]} {getattr(each, key)}{' characters' if key == 'max_length' else ''}" for each, key in parts]
    return " ".join(bounds)


# Views


def comment_of(view: str) -> str:
    """Return the comment above the newest definition of a view."""
    versions = {path: _VIEW_VERSION.search(path.stem) for path in VIEW_TEXTS.glob(f"{view}_[0-9]*.sql")}
    newest = max(versions, key=lambda path: int(versions[path][1]))  # type: ignore[index]
    lines = newest.read_text(encoding="utf-8").partition("CREATE VIEW")[0].splitlines()
    return " ".join(line.removeprefix("--").strip() for line in lines)


def view_pages() -> str:
    """Return the page of the views."""
    text = (
        "# Views\n\nThis page is generated from the code. [Query results](../query.md) has queries for people, "
        "[Connect a worklist](../worklist.md) those that a worklist needs. A new release adds columns at the end only. Times are "
        "in UTC. On SQLite a moment is a text such as `2026-01-02 10:00:00.000000`, a date a text, a boolean 0 or 1, and jsonb "
        "a text with JSON, for `json_each`.\n"
    )
    head = ["column", "type", "meaning", "unit", "NULL", "example"]
    for view in VIEWS.values():
        rows = (
            [
                f"`{column.name}`",
                str(column.kind),
                plain(column.meaning),
                column.unit,
                plain(column.null) or "never",
                f"`{column.example}`" if column.example else "",
            ]
            for column in view.columns
        )
        text += f"\n## {view.name}\n\n{plain(view.meaning)}. {plain(comment_of(view.name))}\n\n" + table(head, rows)
    return text


# Reason codes, statuses and states


def reasons() -> str:
    """Return the page of the reason codes and the rules of the gate."""
    text = "# Reason codes\n\nThis page is generated from the code. A released code keeps its meaning.\n"
    groups = [(f"Outcome {outcome}", [reason for reason in Reason if reason.outcome == outcome]) for outcome in Outcome]
    groups.append(("About a whole study", list(STUDY_REASONS)))
    door = [reason for reason in Reason if reason.outcome is None and reason not in STUDY_REASONS]
    groups.append(("Refused by the listener", door))
    for title, codes in groups:
        if codes:
            rows = [[f"`{code}`", plain(code.sentence)] for code in codes]
            text += f"\n## {title}\n\n" + table(["code", "what, and what to do"], rows)
    text += "\n## The rules of the gate, in their order\n\n"
    text += "`AUSCULT_GATE_POLICY` changes the policy of a rule that is not fixed.\n\n"
    text += table(["policy", "effect on the film"], listed(Policy)) + "\n"
    rows = [
        [f"`{rule.reason}`", rule.stage, f"{rule.policy}{'' if rule.is_changeable else ', fixed'}", plain(rule.reads)]
        for rule in RULES
    ]
    return text + table(["code", "stage", "policy", "what is read"], rows)


def listed(closed: type[StrEnum]) -> list[list[str]]:
    """Return the members of a closed list with the comments (`#:`) above them in its source."""
    source = inspect.getsource(closed)
    said = {}
    for found in re.finditer(r"((?:^ +#: .*\n)+) +(\w+) = ", source, re.MULTILINE):
        said[found[2]] = " ".join(line.strip().removeprefix("#: ") for line in found[1].splitlines())
    return [[f"`{member.value}`", plain(said.get(member.name, ""))] for member in closed]


def statuses() -> str:
    """Return the page of the statuses and states."""
    text = "# Statuses\n\nThis page is generated from the code.\n\n## Answers to C-STORE\n\n"
    rows = [[f"0x{status.code:04X}", plain(status.comment), plain(status.sentence)] for status in StoreStatus]
    text += table(["status", "Error Comment (0000,0902)", "what happened, and what to do"], rows)
    for title, closed in STATES:
        known = listed(closed)
        text += f"\n## {title}\n\n"
        if any(said for _, said in known):
            text += table(["state", "meaning"], known)
        else:
            text += ", ".join(name for name, _ in known) + "\n"
    return text


STATES: tuple[tuple[str, type[StrEnum]], ...] = (
    ("A study: `ai_status`", StudyState),
    ("An image: `outcome`", Outcome),
    ("A task", TaskState),
    ("A batch: `kind`", BatchKind),
    ("A model", ModelState),
    ("A conflict: `kind`", ConflictKind),
    ("A conflict: `resolution`", ConflictEnd),
    ("A study that `auscult fetch` asked for", Fate),
    ("Health: `level`", Level),
    ("Health: `probe`", Probe),
)
REFERENCE: dict[str, Callable[[], str]] = {
    "commands": commands,
    "settings": settings,
    "views": view_pages,
    "reasons": reasons,
    "statuses": statuses,
}
