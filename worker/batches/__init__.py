"""What an operator runs over many films: ingest, classify, explain and re-run.

In: paths or a selection. Out: tasks that are done, with progress.
May import: judging, intake, models, queue, db and the top modules of `worker`.
"""
