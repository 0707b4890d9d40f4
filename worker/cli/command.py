"""The command ``auscult`` and the table of its verbs.

Exit codes: 0 done, 1 some failed, 2 wrong usage or settings. Data go to stdout, messages to stderr.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated, NoReturn

import typer

from dicom_io.errors import DicomIoError
from model.errors import ModelError
from worker.cli.common.verbs import Place, Verbs
from worker.environment import quiet_tensorflow
from worker.errors import WorkerError

logger = logging.getLogger(__name__)

USAGE = 2
FAILED = 1

#: The verbs of ``auscult model``, of ``auscult patient`` and of ``auscult``, in the order of the help.
MODEL_VERBS = {
    "list": Place("worker.cli.model.show", "model_list"),
    "show": Place("worker.cli.model.show", "model_show"),
    "activate": Place("worker.cli.model.activate", "activate"),
    "retire": Place("worker.cli.model.activate", "retire"),
    "shadow": Place("worker.cli.model.shadow", "shadow"),
    "suspend": Place("worker.cli.model.suspend", "suspend"),
    "resume": Place("worker.cli.model.suspend", "resume"),
    "verify": Place("worker.cli.model.verify", "verify"),
    "export": Place("worker.cli.model.export", "export"),
    "import": Place("worker.cli.model.export", "import_"),
    "evaluate": Place("worker.cli.model.evaluate", "model_evaluate"),
    "compare": Place("worker.cli.model.compare", "model_compare"),
    "calibrate": Place("worker.cli.model.calibrate", "model_calibrate"),
    "stress-table": Place("worker.cli.model.stress_table", "model_stress_table"),
    "card": Place("worker.cli.model.card", "model_card"),
    "data": Place("worker.cli.model.data", "model_data"),
    "train": Place("worker.cli.model.train", "model_train"),
    "stress": Place("worker.cli.model.stress", "model_stress"),
}
PATIENT_VERBS = {
    "merge": Place("worker.cli.patient.merge", "merge"),
    "unmerge": Place("worker.cli.patient.merge", "unmerge"),
    "export": Place("worker.cli.patient.export", "export"),
    "erase": Place("worker.cli.patient.erase", "erase"),
}
VERBS = {
    "demo": Place("worker.cli.serve", "demo"),
    "up": Place("worker.cli.serve", "up"),
    "listen": Place("worker.cli.serve", "listen"),
    "work": Place("worker.cli.serve", "work"),
    "migrate": Place("worker.cli.serve", "migrate"),
    "ingest": Place("worker.cli.ingest", "ingest"),
    "classify": Place("worker.cli.classify", "classify"),
    "rerun": Place("worker.cli.rerun", "rerun"),
    "worklist": Place("worker.cli.worklist", "worklist"),
    "show": Place("worker.cli.show", "show"),
    "result": Place("worker.cli.results.result", "result"),
    "trace": Place("worker.cli.results.trace", "trace"),
    "report": Place("worker.cli.results.report", "report"),
    "deliver": Place("worker.cli.results.deliver", "app"),
    "status": Place("worker.cli.status", "status"),
    "drift": Place("worker.cli.reading.drift", "drift"),
    "assess": Place("worker.cli.reading.assess", "assess"),
    "agreement": Place("worker.cli.reading.agreement", "app"),
    "sql": Place("worker.cli.reading.sql", "app"),
    "echo": Place("worker.cli.echo", "echo"),
    "fetch": Place("worker.cli.fetch", "fetch"),
    "model": Place("worker.cli.command", "model_app"),
    "batch": Place("worker.cli.batch", "app"),
    "listener": Place("worker.cli.listener", "app"),
    "audit": Place("worker.cli.upkeep.audit", "app"),
    "conflict": Place("worker.cli.conflict", "app"),
    "correction": Place("worker.cli.upkeep.correction", "app"),
    "patient": Place("worker.cli.command", "patient_app"),
    "purge": Place("worker.cli.upkeep.purge", "purge"),
    "quarantine": Place("worker.cli.upkeep.quarantine", "app"),
    "retry": Place("worker.cli.upkeep.retry", "retry"),
    "withdrawal": Place("worker.cli.upkeep.withdrawal", "app"),
    "fsck": Place("worker.cli.upkeep.fsck", "fsck"),
}
model_app = Verbs(MODEL_VERBS, help="Bundles: the network and everything a score depends on.")
patient_app = Verbs(PATIENT_VERBS, help="One person: merged IDs, and what is held of them for their own request.")
app = Verbs(
    VERBS,
    name="auscult",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(value: bool) -> None:
    if value:
        from importlib.metadata import version  # only here, as few commands say their version

        print(f"auscult {version('auscult')}")
        raise typer.Exit


@app.callback()
def auscult(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """Auscult listens at a chest: a DICOM worker that classifies chest radiographs and answers in SQL.

    Not a medical device; not for diagnosis.
    """


def run() -> NoReturn:
    """Run the command line; every expected error ends with one line and an exit code."""
    quiet_tensorflow()
    try:
        _call()
    except WorkerError as error:
        _end(str(error), error.exit_code)
    except (DicomIoError, ModelError) as error:
        _end(str(error), USAGE)
    except BrokenPipeError:
        _drop_output()
        sys.exit(FAILED)
    except OSError as error:
        _drop_output()
        _end(f"{error.strerror or type(error).__name__}: {error.filename or 'a file, or the output'}", FAILED)
    except Exception as error:
        if _is_database_away(error):
            _end("the database does not answer; check AUSCULT_DATABASE_URL and that the server runs", FAILED)
        logger.exception("internal error", extra={"action": "internal_error"})
        _end(f"internal error ({type(error).__name__}); the log lines above say where. Please report it.", FAILED)


def _call() -> NoReturn:
    """Run the verb and write out what it printed: an error of that at the end of the process would pass for a success."""
    try:
        app()
    except SystemExit:
        # How Typer ends.
        _write_out()
        raise
    _write_out()
    sys.exit()


def _write_out() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _drop_output() -> None:
    """Drop what cannot be written out: the interpreter would try again at its end, and print a traceback."""
    try:
        _write_out()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_database_away(error: Exception) -> bool:
    from sqlalchemy.exc import InterfaceError, OperationalError  # a command without a database does not load it

    return isinstance(error, (OperationalError, InterfaceError))


def _end(sentence: str, code: int) -> NoReturn:
    if sentence:
        from worker.cli.common.output import complain  # loads what prints tables

        complain(sentence)
    sys.exit(code)
