"""The answers of studies handed on to other systems, by rule, until they are confirmed.

In: rows of `destination`, and studies of the worklist that changed. Out: DICOM objects and messages at destinations, and rows
of `delivery` that say how far each is. May import: `results`, `models`, `db`, `stores`, `peers` and what these may.

The way of a delivery:

1. `planner`, in the listener: a study changed; what each destination is to be told about it becomes a row (PENDING), if that
   is anything new. Only a FINAL answer that is judged and not in doubt is told; when none holds any more, what was told is
   taken back.
2. `dispatch`, in the listener: a destination with due rows gets a process of its own (`process`), which claims one row after
   the other, and ends when there is none. One that ends unseen, as with its listener, is known by its file (`worker.presence`),
   and its claim put back. So a destination that hangs holds back nobody, and the listener loads neither
   highdicom nor a network.
3. `sender`, `kinds`, `c_store`: the kind of the destination says who sends. Each attempt has a lease with a fencing token and a hard time limit.
4. `confirmations`, in the listener: answers to requests for storage commitment that come later, over associations of theirs.

To add a kind of destination (HL7, FHIR, STOW-RS):

1. A name in `DestinationKind` (`worker.db.schema.states`), and a migration that widens the CHECK `ck_destination_kind`.
2. A class with the method of `sender.Sender`, in a module of its own, and its line in `kinds.SENDERS`. It gets a claimed
   delivery and returns an `Outcome`. It may be killed at any moment and is then called again for the same row, so what it
   sends must be the same again, or be known by `ClaimedDelivery.uid`. It calls `record` before the first byte leaves.
3. How `destination.address` is read (`addresses.kind_of`), and its line in docs/delivery.md.

Claims, pauses, attempts, giving up, order, audit and `auscult deliver` are the same for every kind.
"""
