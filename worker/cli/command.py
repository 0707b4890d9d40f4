"""The command ``auscult``: exit code 0 done, 1 some failed, 2 wrong usage or settings; data to stdout, words to stderr."""

from __future__ import annotations

import logging
import sys
from importlib.metadata import version
from typing import Annotated

import typer
from sqlalchemy.exc import InterfaceError, OperationalError

from dicom_io.errors import DicomIoError
from dicom_io.quiet import quiet_libraries
from model.errors import ModelError
from worker.cli import (
    batches,
    conflicts,
    data,
    listeners,
    look,
    measures,
    models,
    peers,
    reruns,
    serve,
    status,
    training,
)
from worker.cli.output import complain
from worker.cli.verbs import Verbs
from worker.errors import WorkerError
from worker.settings import quiet_tensorflow

logger = logging.getLogger(__name__)

USAGE = 2
FAILED = 1

app = Verbs(
    name="auscult",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
serve.add_to(app)
batches.add_to(app)
reruns.add_to(app)
look.add_to(app)
status.add_to(app)
peers.add_to(app)
training.add_to(models.app)
measures.add_to(models.app)
data.add_to(models.app)
app.add_typer(models.app, name="model")
app.add_typer(reruns.batch_app, name="batch")
app.add_typer(listeners.app, name="listener")
app.add_typer(conflicts.app, name="conflict")


def _say_version(value: bool) -> None:
    if value:
        print(f"auscult {version('auscult')}")
        raise typer.Exit


@app.callback()
def auscult(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """Auscult listens at a chest: DICOM worker that classifies chest radiographs and answers in SQL.

    Not a medical device; not for diagnosis.
    """


def run() -> None:
    """Run the command line; every foreseen error ends with one line and an exit code."""
    quiet_libraries()
    quiet_tensorflow()
    try:
        app()
    except WorkerError as error:
        _end(str(error), error.exit_code)
    except (DicomIoError, ModelError) as error:
        _end(str(error), USAGE)
    except (OperationalError, InterfaceError):
        _end("the database does not answer; check AUSCULT_DATABASE_URL and that the server runs", FAILED)
    except BrokenPipeError:
        sys.exit(FAILED)
    except OSError as error:
        _end(f"{error.strerror or type(error).__name__}: {error.filename or 'a file of the data folder'}", FAILED)
    except Exception as error:
        logger.exception("internal error", extra={"action": "internal_error"})
        _end(f"internal error ({type(error).__name__}); the log lines above say where. Please report it.", FAILED)


def _end(sentence: str, code: int) -> None:
    if sentence:
        complain(sentence)
    sys.exit(code)
