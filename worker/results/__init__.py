"""The result of a study as objects for the PACS.

In: a study of the worklist. Out: data sets of `dicom_io.results`, ready to be stored, and files of them. May import
`batches`, `db`, `models`, `stores`; nothing is sent from here.
"""
