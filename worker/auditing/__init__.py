"""The audit trail of a process, and its export as DICOM PS3.15 messages or JSON lines; no step of the flow.

In: settings, events in SQL. Out: events of starts, stops and changed settings; messages at a syslog receiver; a file.
May import: `database`, `settings`, `db`, `loops` of `worker`; TLS of `dicom_io`.
"""
