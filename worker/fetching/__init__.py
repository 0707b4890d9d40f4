"""Studies of the past, fetched from a PACS and checked against what the PACS says it has.

In: keys, dates or a list. Out: registered studies.
May import: batches, intake, models, db and the top modules of `worker`.
"""
