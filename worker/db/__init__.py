"""Every SQL statement of Auscult, by subject; SQL is the queue of record.

Steps 3, 4, 5 and 8 of the flow. In: sessions and plain values. Out: rows and plain values.
Rooms, from low to high: contract, schema; audit; models, identity; answers; tasks; filing, batches, delivery, retention;
read, fsck. A room imports those below it.
May import: of `worker` only errors, addresses and the login name; of `dicom_io` reasons, facts of headers and films; of
`model` labels and scores.
"""

from __future__ import annotations
