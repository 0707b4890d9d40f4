"""What every association shares: the TCP connection, TLS, addresses, and how pynetdicom is set up.

In: host, port, certificates. Out: connected sockets and TLS contexts.
May import: errors, quiet.
"""
