"""The command ``auscult``: exit code 0 done, 1 some failed, 2 wrong usage or settings; data to stdout, words to stderr."""

from __future__ import annotations

import logging
import os
import sys

import typer
from sqlalchemy.exc import InterfaceError, OperationalError

from dicom_io.errors import DicomIoError
from dicom_io.quiet import quiet_libraries
from model.errors import ModelError
from worker.cli import batches, conflicts, data, look, measures, models, peers, serve, training
from worker.cli.output import complain
from worker.errors import WorkerError

logger = logging.getLogger(__name__)

USAGE = 2
FAILED = 1
INTERRUPTED = 130
#: What a command writes holds films and names of patients: it is for its owner alone.
OWNER_ONLY = 0o077

app = typer.Typer(
    name="auscult",
    help="Auscult listens at a chest: DICOM worker that classifies chest radiographs and answers in SQL. "
    "Not a medical device; not for diagnosis.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
serve.add_to(app)
batches.add_to(app)
look.add_to(app)
peers.add_to(app)
training.add_to(models.app)
measures.add_to(models.app)
data.add_to(models.app)
app.add_typer(models.app, name="model")
app.add_typer(batches.batch_app, name="batch")
app.add_typer(conflicts.app, name="conflict")


def main() -> None:
    """Run the command line; every foreseen error ends with one line and an exit code."""
    os.umask(OWNER_ONLY)
    quiet_libraries()
    try:
        app()
    except WorkerError as error:
        _end(str(error), error.exit_code)
    except (DicomIoError, ModelError) as error:
        _end(str(error), USAGE)
    except (OperationalError, InterfaceError):
        _end("the database does not answer; check AUSCULT_DATABASE_URL and that the server runs", FAILED)
    except KeyboardInterrupt:
        _end("interrupted", INTERRUPTED)
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
