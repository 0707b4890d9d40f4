"""Verbs that hand a study's answer on: as objects for the PACS.

In: a study and options. Out: files of the owner's, tables or JSON, and an exit code.
May import: `worker/cli/common` and everything outside `worker/cli`.
"""
