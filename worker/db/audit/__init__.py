"""The audit trail: one row for each act that touches patients, studies, models or the system itself; no step of the flow.

In: a session, an act and who did it. Out: a row of `audit_event` in the transaction of the act.
May import: `schema`; of `worker` the login name.
"""
