"""Durable receive of objects: Auscult's listener against dcmtk's storescp, in turns."""
