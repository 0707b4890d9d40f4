"""The answer of a study handed on: as objects for the PACS, and as the documents that tell how its results were made.

In: a study of the worklist. Out: data sets of `dicom_io.results`, ready to be stored, and plain documents. Nothing is sent
from here. May import: `batches`, `judging`, `models`, `db`, `stores`.
"""
