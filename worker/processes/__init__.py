"""The processes: listener, workers, broker, and their supervisor.

In: settings. Out: running processes, ended in order.
May import: every room of `worker` but cli.
"""
