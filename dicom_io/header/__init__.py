"""Step 3: read the header of an object into frozen facts.

In: a DICOM file, or an encoded data set. Out: `Facts`, clean enough for SQL and the gate; `Digests` of the bytes.
May import: `clean`, `errors`, `quiet` and the other top modules of `dicom_io`, but none of its rooms.
"""
