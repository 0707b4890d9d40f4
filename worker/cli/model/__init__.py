"""The verbs of `auscult model`: one file per verb, or per pair of verbs that undo each other.

In: options. Out: tables, JSON or CSV, reports, and an exit code.
May import: `worker/cli/common` and everything outside `worker/cli`.
"""
