"""The models of a site: which is active, shadow or retired, and what is on record about each.

In: bundles. Out: rows in SQL, each change with its event.
May import: db and the top modules of `worker`.
"""
