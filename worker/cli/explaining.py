"""The options of ``--explain``, which two verbs share, and the picture that they write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from worker.cli.output import complain
from worker.errors import UsageError

if TYPE_CHECKING:
    from worker.explain import Explained, Request

Explain = Annotated[
    Path | None, typer.Option(help="Write a picture of the evidence on the film, as PNG; needs TensorFlow.")
]
# Not the enum itself: that would load numpy and Pillow with every command.
HowExplained = Annotated[Literal["hirescam", "grad-cam"], typer.Option(help="How the evidence is found.")]


def write_explained(explain: Callable[[Request], Explained], path: Path, model: str | None, method: str) -> None:
    """Explain a film and write the picture; says so on stderr, for stdout belongs to the answer."""
    if path.suffix.lower() != ".png":
        msg = f"--explain writes a PNG picture: call it {path.with_suffix('.png').name}"
        raise UsageError(msg)
    if not path.parent.is_dir():
        msg = f"there is no folder {path.parent} to write {path.name} into"
        raise UsageError(msg)
    from model.explain import Method
    from worker.cli.figure import write_figure
    from worker.explain import Request

    explained = explain(Request(model, Method(method)))
    write_figure(explained, path)
    complain(f"wrote {path}: the evidence of {explained.model} on the film {explained.sop_uid}")
