"""Verbs that hand a study's answer on: as objects for the PACS, and with everything that made it.

In: a study and options. Out: files of the owner's, tables or JSON, and an exit code.
May import: `worker/cli/common` and everything outside `worker/cli`.
"""
