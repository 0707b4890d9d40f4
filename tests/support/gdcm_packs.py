"""Compress a film with GDCM, in a process of its own: ``python -m tests.support.gdcm_packs CODING PLAIN PACKED``."""

from __future__ import annotations

import sys

import gdcm  # type: ignore[import-untyped]


def pack(name: str, plain: str, packed: str) -> bool:
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(plain)
    if not reader.Read():
        return False
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, name)))
    change.SetInput(reader.GetImage())
    if not change.Change():
        return False
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(packed)
    return bool(writer.Write())


if __name__ == "__main__":
    sys.exit(not pack(*sys.argv[1:]))
