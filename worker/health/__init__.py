"""Probes: each process records whether it keeps its promises.

In: the state of a process. Out: rows of the table `probe`.
May import: queue, models, db and the top modules of `worker`.
"""
