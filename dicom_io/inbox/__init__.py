"""Step 2: the durable inbox of received objects, and the store of registered ones.

In: the bytes of an object. Out: a file that survives a power cut, and the status to answer with.
May import: header and the modules of `dicom_io` itself.
"""
