"""Beside the flow: DICOM objects that Auscult makes itself, from pictures and for the demo.

In: a JPEG or PNG picture, or a drawing. Out: a DICOM data set.
May import: `film`, `header` and the top modules of `dicom_io`.
"""
