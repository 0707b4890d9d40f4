"""pgbouncer in transaction mode before a PostgreSQL: each transaction of a client may get another session."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import psycopg
import sqlalchemy as sa

from tests.support.servers import OwnServer, free_port

if TYPE_CHECKING:
    from tests.support.peers import Peers


class PgBouncer(OwnServer):
    """One pgbouncer on a loopback port, with two sessions for all its clients."""

    name = "pgbouncer"
    stop_signal = signal.SIGINT
    kill_signal = signal.SIGKILL

    def __init__(self, program: Peers, url: str) -> None:
        super().__init__("auscult-pgb-", environment=dict(program.environment))
        self.root.chmod(0o755)
        self._program = program.programs["pgbouncer"]
        self._behind = sa.make_url(url)
        self.port = free_port()

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the database through the pooler."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{self._behind.database}"

    def _command(self) -> list[str]:
        behind = self._behind
        host = behind.query.get("host") or behind.host
        path = self.root / "pgbouncer.ini"
        path.write_text(
            "[databases]\n"
            f"{behind.database} = host={host} port={behind.port or 5432} user={behind.username} pool_size=2\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            "auth_type = any\npool_mode = transaction\n",
            encoding="ascii",
        )
        path.chmod(0o644)
        # It refuses to stay root, and would not find its libraries if it were nobody from the beginning.
        return [self._program, *(["-u", "nobody"] if os.geteuid() == 0 else []), str(path)]

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url.replace("+psycopg", ""), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True
