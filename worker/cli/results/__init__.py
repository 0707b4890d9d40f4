"""Verbs that hand a study's answer on: as objects for the PACS, as a page for people, and with everything that made it.

In: a study and options. Out: files for their owner alone, tables or JSON, and an exit code.
May import: `worker/cli/common` and everything outside `worker/cli`.
"""
