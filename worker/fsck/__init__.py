"""`auscult fsck`: are spool, store, films and SQL consistent? Compared both ways, and repaired where nothing is lost.

In: settings, the database. Out: findings by kind, and what was repaired.
May import: `intake`, `database`, `stores`, `settings`, `db`, `dicom_io`.
"""
