"""Beside the flow: what the site no longer keeps goes, and what is held of one person is shown or erased.

In: the site's rules, the tables, the store and the films. Out: files removed, rows deleted, a document for the person.
May import: `health`, `models`, `queue`, `db` and the top modules of `worker`.
"""
