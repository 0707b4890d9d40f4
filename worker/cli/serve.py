"""Verbs that serve: demo, up, listen, work, migrate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worker.cli.output import complain, opened, opened_once

Port = Annotated[int | None, typer.Option(help="Port to listen on (AUSCULT_PORT).", min=0, max=65535)]
Host = Annotated[str | None, typer.Option(help="Address to listen on (AUSCULT_HOST).")]
Processes = Annotated[int | None, typer.Option(help="Worker processes.", min=1, max=256)]


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    for verb in (demo, up, listen, work, migrate):
        app.command()(verb)


def demo(
    films: Annotated[
        Path | None, typer.Option(help="Push the JPEG, PNG or DICOM files of this folder, not drawn phantoms.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End as soon as every demo study is terminal.")] = False,
    port: Port = None,
    at_site: Annotated[
        bool,
        typer.Option("--at-site", help="Push into the site's own data folder and database, not one of the demo's."),
    ] = False,
) -> None:
    """Bring Auscult up, push demo films through the real listener and print the worklist."""
    from worker.cli import demo as demonstration

    settings = opened_once(port=port)
    raise typer.Exit(demonstration.run_demo(settings, films, once=once, at_site=at_site))


def up(host: Host = None, port: Port = None, processes: Processes = None) -> None:
    """Serve: listener and workers, supervised; SQLite and an embedded broker unless two URLs are set."""
    from worker.up import running_stack

    settings = opened(host=host, port=port, processes=processes)
    with running_stack(settings, "auscult up") as stack:
        stack.supervisor.run()


def listen(
    host: Host = None,
    port: Port = None,
    ready_fd: Annotated[int | None, typer.Option(hidden=True, help="Where to say the port, for `auscult up`.")] = None,
) -> None:
    """Serve the listener alone: C-ECHO, C-STORE, registration and dispatch."""
    from worker.listen import ListenerProcess

    ListenerProcess(opened(host=host, port=port), ready_fd).run()


def work(processes: Processes = None) -> None:
    """Work off the queue."""
    settings = opened()
    if processes and processes > 1:
        from worker.up import run_workers

        run_workers(settings, processes)
        return
    from worker.app import run_worker
    from worker.bootstrap import check_first_start
    from worker.up import check_start

    check_first_start(settings)
    check_start(settings)
    run_worker(settings)


def migrate() -> None:
    """Bring the database's schema and views to this release."""
    from worker.bootstrap import connect
    from worker.db.migrate import migrate as upgrade

    settings = opened()
    database = connect(settings)
    upgrade(database.engine)
    complain("the schema is up to date")
