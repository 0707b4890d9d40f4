"""pynetdicom's upper layer (PS3.8) with bounds on time, size and memory.

In: a connection. Out: associations, and whole messages within the bounds.
May import: network, header and the modules of `dicom_io` itself.
"""
