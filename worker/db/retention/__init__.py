"""Retention: what may go, and when; what a purge takes, what a commitment keeps, what is held of one person.

In: the rules of the site and the database's clock. Out: marks, files to remove, deleted rows, documents about a person.
May import: `tasks`, `answers`, `identity`, `audit`, `schema`.
"""
