"""Verbs that serve: demo, up, listen, work, migrate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worker.cli.common.output import complain, opened, opened_once

Port = Annotated[int | None, typer.Option(help="Port to listen on (AUSCULT_PORT).", min=0, max=65535)]
Host = Annotated[str | None, typer.Option(help="Address to listen on (AUSCULT_HOST).")]
Processes = Annotated[int | None, typer.Option(help="Worker processes.", min=1, max=256)]


def demo(
    films: Annotated[
        Path | None, typer.Option(help="Send the JPEG, PNG or DICOM files of this folder instead of drawn films.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End as soon as every demo study is answered.")] = False,
    port: Port = None,
    at_site: Annotated[
        bool,
        typer.Option("--at-site", help="Use the data folder and database of the site instead of those of the demo."),
    ] = False,
) -> None:
    """Start Auscult, send demo films to the real listener and print the worklist."""
    from worker.cli.demo import run_demo

    settings = opened_once(port=port)
    raise typer.Exit(run_demo(settings, films, once=once, at_site=at_site))


def up(host: Host = None, port: Port = None, processes: Processes = None) -> None:
    """Run listener and workers, supervised; with SQLite and an embedded broker unless two URLs are set."""
    from worker.processes.up import running_stack

    settings = opened(host=host, port=port, processes=processes)
    with running_stack(settings, "auscult up") as stack:
        stack.supervisor.run()


def listen(
    host: Host = None,
    port: Port = None,
    ready_fd: Annotated[
        int | None, typer.Option(hidden=True, help="File descriptor to which the port is written, for `auscult up`.")
    ] = None,
) -> None:
    """Run only the listener: C-ECHO, C-STORE, registration and dispatch."""
    from worker.processes.listen import ListenerProcess

    ListenerProcess(opened(host=host, port=port), ready_fd).run()


def work(processes: Processes = None) -> None:
    """Run only workers, which judge the images in the queue."""
    settings = opened()
    from worker.processes.apart import apart
    from worker.processes.app import run_worker
    from worker.processes.up import check_start

    model = apart(lambda: check_start(settings))
    run_worker(settings, processes or 1, model)


def migrate() -> None:
    """Upgrade the database's schema and views to this release."""
    from worker.database import application_account, make_home, owner_engine
    from worker.db.schema.migrate import migrate as upgrade

    settings = opened()
    make_home(settings)
    upgrade(owner_engine(settings), application_account(settings))
    complain("the schema is up to date")
