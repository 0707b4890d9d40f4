"""From C-STORE to a committed row: Auscult, Orthanc with a plug-in the obvious way, and a tuned one, from outside."""
