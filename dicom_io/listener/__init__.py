"""Step 1: the storage SCP takes objects from a PACS or modality.

In: associations of callers that the door admits. Out: objects in the inbox, refusals in the journal.
May import: client, upper_layer, network, inbox, header and the modules of `dicom_io` itself.
"""
