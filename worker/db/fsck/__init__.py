"""What `auscult fsck` asks of SQL, and what it corrects there; no step of the flow.

In: a session, keys of files. Out: rows to compare with the files, stored answers that are not what the rule says.
May import: `tasks`, `answers`, `schema`.
"""
