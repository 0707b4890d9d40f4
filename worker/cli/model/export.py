"""``auscult model export`` and ``import``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worker.cli.common.audited import audit_bundle
from worker.cli.common.options import BundleName
from worker.cli.common.output import complain, opened_once
from worker.db.audit.codes import Act
from worker.models.active import bundle_of


def export(
    bundle: BundleName,
    out: Annotated[
        Path, typer.Argument(help="Zip file to write (its name ends in .zip), or the folder to put the bundle into.")
    ],
) -> None:
    """Write a bundle for another site; the zip file of a bundle is always the same, byte for byte."""
    from model.serving.transfer import export_bundle

    settings = opened_once()
    found = bundle_of(settings, bundle)
    audit_bundle(settings, Act.MODEL_EXPORTED, found.label)
    written = export_bundle(found, out)
    complain(f"{bundle} written to {written}")


def import_(
    source: Annotated[Path, typer.Argument(help="Zip file of 'auscult model export', or a bundle's folder.")],
) -> None:
    """Check a bundle's digests and copy it into the folder that all workers share; it is not activated."""
    from model.serving.transfer import import_bundle

    settings = opened_once()
    taken = import_bundle(source, settings.models)
    audit_bundle(settings, Act.MODEL_IMPORTED, taken.label)
    complain(f"{taken.label} is in {taken.path}; activate it with 'auscult model activate {taken.label}'")
