"""Deliveries in SQL: destinations, what each is told about a study, claims with a lease, and how they end.

In: sessions, decisions of `worker.delivering`. Out: rows of `destination` and `delivery`, and audit events.
May import: identity, models, audit, schema and contract.
"""
