"""The result of a study as objects for the PACS.

In: a study of the worklist. Out: data sets of `dicom_io.results`, ready to be stored. Nothing is sent from
here. May import: `batches`, `models`, `db`, `stores`.
"""
