"""The options of ``--explain``, which `show` and `classify` share, and the picture that they write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from worker.cli.common.output import complain
from worker.errors import UsageError

if TYPE_CHECKING:
    from worker.batches.explain import Explained, ExplainRequest

Explain = Annotated[
    Path | None,
    typer.Option(
        help="PNG file for a picture of the evidence on the film; auscult-1 and notebook-1 need TensorFlow for it."
    ),
]
# The enum itself would load numpy and Pillow with every command.
HowExplained = Annotated[
    Literal["hirescam", "grad-cam", "occlusion"] | None,
    typer.Option(
        help="How the evidence is found; default: the method that passed the tests when the bundle was exported."
    ),
]


def write_explained(
    explain: Callable[[ExplainRequest], Explained],
    path: Path,
    model: str | None,
    method: str | None,
    side: int | None = None,
) -> None:
    """Explain a film and write the picture; a line on stderr says so, as stdout holds the answer."""
    if path.suffix.lower() != ".png":
        msg = f"--explain writes a PNG picture: call it {path.with_suffix('.png').name}"
        raise UsageError(msg)
    if not path.parent.is_dir():
        msg = f"the folder {path.parent} does not exist: make it, or write {path.name} into another"
        raise UsageError(msg)
    from model.labels import Method
    from worker.batches.explain import ExplainRequest
    from worker.cli.common.figure import write_figure

    explained = explain(ExplainRequest(model, Method(method) if method else None, side))
    write_figure(explained, path)
    complain(f"wrote {path}: the evidence of {explained.model} on the film {explained.sop_uid}")
