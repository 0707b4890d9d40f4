"""The read side: rows for people and programs, from the public views and tables; and the probes of each process.

After step 8. In: a question. Out: plain dictionaries and values.
May import: every other room of `worker/db`.
"""
