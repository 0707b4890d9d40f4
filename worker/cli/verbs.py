"""Typer as Auscult uses it: the help says nothing of the type of an option that takes no value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption


def _without_type(params: Any) -> Any:
    """Typer shows `<bool>` beside a flag, as if a value were to be given."""
    for param in params:
        if isinstance(param, TyperOption) and param.is_flag:
            param.metavar = ""
    return params


class _Verb(TyperCommand):
    def get_params(self, ctx: Any) -> Any:
        """The parameters, of which flags have no type."""
        return _without_type(super().get_params(ctx))


class _Verbs(TyperGroup):
    def get_params(self, ctx: Any) -> Any:
        """The parameters, of which flags have no type."""
        return _without_type(super().get_params(ctx))


class Verbs(typer.Typer):
    """A group of verbs."""

    def __init__(self, **options: Any) -> None:
        super().__init__(cls=_Verbs, no_args_is_help=True, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        """Add a verb."""
        return super().command(name, cls=_Verb, **options)
