"""The verbs of ``auscult patient``: what concerns one person and not one study."""
