"""What Auscult asks of other systems: echo, query, retrieve and send.

In: a peer. Out: an association to it, and its answers.
May import: upper_layer, network, inbox, header and the modules of `dicom_io` itself.
"""
