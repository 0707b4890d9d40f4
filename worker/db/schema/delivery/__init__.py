"""The tables of delivery.

In: nothing. Out: `Destination` and `Delivery`, which `schema.study` names too. May import: `schema.base`, `states`, `types`.
"""
