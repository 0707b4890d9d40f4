"""The verbs of ``auscult patient``: what concerns one person and not one study.

In: a patient's identifier and options. Out: tables, JSON or files of the owner's, and an exit code.
May import: `worker/cli/common` and everything outside `worker/cli`.
"""
