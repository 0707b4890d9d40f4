"""Verbs that keep a site in order: audit trail, withdrawn films, corrections, quarantine, purges, and the check of its data.

In: options. Out: tables, JSON or CSV, and an exit code.
May import: `worker/cli/common` and everything outside `worker/cli`.
"""
