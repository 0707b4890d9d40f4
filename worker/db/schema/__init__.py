"""The tables, their types and states, the public views, connections and migrations; no step of the flow.

In: a database URL. Out: an engine, mapped classes and the columns of the views.
May import: `worker.db.contract`, errors and addresses of `worker`, reasons and evidence of `dicom_io`, labels of `model`.
"""
