"""Step 6b: stored values to the film, the one decoded picture that everything later uses.

In: a DICOM file, or a JPEG or PNG picture. Out: a `Film`, 8-bit grey and MONOCHROME2, stored as PNG.
May import: `pixels`, `inbox`, `header` and the top modules of `dicom_io`.
"""
