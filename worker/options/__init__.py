"""Settings by subject, and secrets that stand in files; `worker.settings` is made of them.

In: variables and values of `auscult.toml`. Out: checked values.
May import: `addresses`, `environment`, `errors`; `dicom_io.gate` once a policy is asked for.
"""
