"""Typer as Auscult uses it: verbs are imported when they are called, and a flag shows no type in the help.

A command starts in a fraction of the time when it does not import the libraries of all the others. The help of a group
reads the first sentence of each verb from its source file, without importing it.
"""

from __future__ import annotations

import ast
import gc
from collections.abc import Callable, Iterator, MutableMapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption


class Place(NamedTuple):
    """Where a verb is: a function of a module, or the group `app` of one."""

    module: str
    name: str


def _without_type(params: Any) -> Any:
    """Typer shows `<bool>` beside a flag, as if a value were to be given."""
    for param in params:
        if isinstance(param, TyperOption) and param.is_flag:
            param.metavar = ""
    return params


class _Verb(TyperCommand):
    def __init__(self, name: str | None, **attributes: Any) -> None:
        # Typer breaks all paragraphs but the first where the source does.
        if help_text := attributes.get("help"):
            attributes["help"] = "\n\n".join(" ".join(part.split()) for part in help_text.split("\n\n"))
        super().__init__(name, **attributes)

    def get_params(self, ctx: Any) -> Any:
        """The parameters, of which flags have no type."""
        return _without_type(super().get_params(ctx))


class _Commands(MutableMapping[str, Any]):
    """The commands of a group by name; those that have a place are imported when they are asked for."""

    def __init__(self, made: MutableMapping[str, Any], places: dict[str, Place]) -> None:
        self._made, self._places = made, dict(places)

    def __getitem__(self, name: str) -> Any:
        if name not in self._made and name in self._places:
            self._made[name] = _load(name, self._places[name])
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        place, made = self._places.pop(name, None), self._made.pop(name, None)
        if place is None and made is None:
            raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._places, *self._made]))

    def __len__(self) -> int:
        return len(self._places.keys() | self._made.keys())

    def listed(self, name: str) -> Any:
        """A command as the help of its group lists it: name and first sentence."""
        if name in self._made or name not in self._places:
            return self._made.get(name)
        return TyperCommand(name, help=_first_sentence(self._places[name]), rich_markup_mode=None)


class _Verbs(TyperGroup):
    places: ClassVar[dict[str, Place]] = {}
    _is_listing = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._placed = _Commands(self.commands, self.places)
        self.commands = self._placed

    def get_params(self, ctx: Any) -> Any:
        """The parameters, of which flags have no type."""
        return _without_type(super().get_params(ctx))

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - Typer's signature
        """The names of the commands; Typer's own would import each."""
        return list(self.commands)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name; for the help of the group its name and first sentence are enough."""
        if self._is_listing:
            return self._placed.listed(cmd_name)
        return super().get_command(ctx, cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of the group."""
        self._is_listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._is_listing = False


class Verbs(typer.Typer):
    """A group of verbs; those in `places` are imported when they are called."""

    def __init__(self, places: dict[str, Place] | None = None, **options: Any) -> None:
        group = type("_PlacedVerbs", (_Verbs,), {"places": places or {}})
        super().__init__(cls=group, no_args_is_help=True, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        """Add a verb."""
        return super().command(name, cls=_Verb, **options)


def _load(name: str, place: Place) -> Any:
    verb = getattr(import_module(place.module), place.name)
    # The command line begins without the garbage collector, which from here on leaves what is loaded alone.
    gc.freeze()
    gc.enable()
    if isinstance(verb, typer.Typer):
        group = typer.main.get_group(verb)
        group.name = name
        return group
    alone = typer.Typer(add_completion=False)
    alone.command(name, cls=_Verb)(verb)
    return typer.main.get_command(alone)


def _first_sentence(place: Place) -> str:
    """Read the help of a verb, or of a group, from the source."""
    spec = find_spec(place.module)
    if spec is None or spec.origin is None:
        return ""
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == place.name:
            return (ast.get_docstring(node) or "").partition("\n\n")[0]
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == place.name:
            texts = [keyword.value for keyword in getattr(node.value, "keywords", []) if keyword.arg == "help"]
            return str(ast.literal_eval(texts[0])) if texts else ""
    return ""
