"""Steps 5 to 8: gate, film, network and the transaction that records the answer.

In: a task. Out: a result in SQL.
May import: models, queue, health, db and the top modules of `worker`.
"""
