"""Step 6a: pixel data to stored values, with one decoder for each transfer syntax.

In: a DICOM file. Out: `StoredPixels`, an array of stored values of at most `limits.MAX_PIXELS` pixels.
May import: `header` and the top modules of `dicom_io`.
"""
