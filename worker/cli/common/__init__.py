"""What several verbs share: reading options, asking for confirmation, printing answers, drawing an explanation.

In: values. Out: text on stdout and stderr, pictures.
May import: `worker` outside `worker/cli`, `dicom_io` and `model`; no verb and no group.
"""
