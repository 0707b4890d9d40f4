"""``auscult drift``: whether the films or the answers of the site have changed, by device, and by what."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model.drift.chart import draw_drift
from model.drift.verdict import Verdict
from model.notice import NOTICE
from worker.cli.common.options import DAY, ModelName
from worker.cli.common.output import (
    AsCsv,
    AsJson,
    complain,
    console,
    opened_once,
    print_answer,
    print_table,
)
from worker.database import open_database
from worker.errors import UsageError
from worker.models.active import active_model
from worker.models.drift import all_days, check, count_due

if TYPE_CHECKING:
    from model.drift.verdict import Compared, Drift
    from model.statistics.stability import Stability
    from worker.models.drift import Checked, Group

GROUPS = {
    "device": "Device",
    "verdict": "Verdict",
    "because": "Because of",
    "films": "Films",
    "reference_films": "Reference",
    "positive": "PNEUMONIA",
    "prevalence": "Prevalence",
}
MEASURES = {
    "measure": "Measure",
    "psi": "PSI",
    "interval": "Interval",
    "rest": "Not by prevalence",
    "training": "Against training",
}


def drift(
    model: ModelName = None,
    device: Annotated[
        str | None, typer.Option(help="Only devices with this text in manufacturer, model, station or AE title.")
    ] = None,
    since: Annotated[
        date | None,
        typer.Option(
            help="First day of the reference; default: the model's last good check, or AUSCULT_DRIFT_SINCE if later.",
            **DAY,
        ),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="PNG file for a picture of the first device listed.")] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Compare the last days' films and answers with the first ones, for the site and for each device.

    Days that are over in UTC count; those that the listener has not counted yet are counted first.
    """
    settings = opened_once()
    database = open_database(settings)
    name = model or active_model(settings, database)
    if name is None:
        msg = "no model is active: name one with --model"
        raise UsageError(msg)
    count_due(database)
    found = check(settings, database, name, since, device)
    if not found.devices:
        complain("no day with films is over since then" + (f" for a device with {device!r}" if device else ""))
    elif plot:
        first = found.groups[0]
        plot.parent.mkdir(parents=True, exist_ok=True)
        draw_drift(plot, f"{found.model}, {first.name}", all_days(database, found), first.drift, found.training)
    print_answer(_document(found), _rows(found), lambda: _show(found), as_json=as_json, as_csv=as_csv)
    if plot and found.devices:
        complain(f"wrote {plot}")


def _document(found: Checked) -> dict[str, Any]:
    return {
        "model": found.model,
        "source": found.source.value,
        "since": found.since,
        "counted_until": found.counted_until,
        "groups": [
            {"device": None if group.device is None else asdict(group.device), **_of_drift(group.drift)}
            for group in found.groups
        ],
        "notice": NOTICE,
    }


def _of_drift(drift: Drift) -> dict[str, Any]:
    return {
        "verdict": drift.verdict.value,
        "because": [str(one) for one in drift.because],
        "now": _window(drift.now),
        "reference": _window(drift.reference),
        "films": drift.films,
        "reference_films": drift.films_reference,
        "positive_rate": drift.positive_rate,
        "reference_positive_rate": drift.positive_rate_reference,
        "prevalence_change": asdict(drift.prevalence) if drift.prevalence else None,
        "outcomes": _stability(drift.outcomes),
        "measures": {measure.value: _measure(compared) for measure, compared in drift.measures.items()},
    }


def _measure(compared: Compared) -> dict[str, Any]:
    return {
        "psi": _stability(compared.psi if compared.psi.n_reference else None),
        "not_by_prevalence": _stability(compared.rest),
        "against_training": _stability(compared.training),
        "moved": compared.moved,
        "design_effect": compared.design_effect,
    }


def _stability(found: Stability | None) -> dict[str, Any] | None:
    return None if found is None else asdict(found)


def _window(window: tuple[date, date] | None) -> list[date] | None:
    return None if window is None else list(window)


def _rows(found: Checked) -> list[dict[str, Any]]:
    return [_row(group) for group in found.groups]


def _row(group: Group) -> dict[str, Any]:
    drift = group.drift
    return {
        "device": group.name,
        "verdict": drift.verdict.value,
        "because": [str(one) for one in drift.because],
        "films": drift.films,
        "reference_films": drift.films_reference,
        "positive": _from_to(drift.positive_rate_reference, drift.positive_rate),
        "prevalence": _points(drift),
    }


def _from_to(before: float | None, now: float | None) -> str | None:
    if before is None or now is None:
        return None
    return f"{before:.3f} to {now:.3f}"


def _points(drift: Drift) -> str | None:
    """The change of prevalence where it is one: the scores cannot tell it where the pictures have changed."""
    shift = drift.prevalence
    if shift is None or drift.verdict in {Verdict.PICTURES, Verdict.UNCLEAR, Verdict.TOO_FEW}:
        return None
    return f"{shift.change:+.3f} ({shift.low:+.3f} to {shift.high:+.3f})"


def _show(found: Checked) -> None:
    print_table(_rows(found), GROUPS, title=f"{found.model}, {found.source.value}, reference from {found.since} on")
    first = found.groups[0]
    if first.drift.measures:
        rows = [{"measure": measure.value, **_words(one)} for measure, one in first.drift.measures.items()]
        if first.drift.outcomes:
            rows.append({"measure": "OUTCOME", **_figures(first.drift.outcomes)})
        print_table(rows, MEASURES, title=first.name)
    counted = f"until {found.counted_until}" if found.counted_until else "none"
    console().print(f"Days that are counted: {counted}. An alarm is a PSI whose interval lies above 0.1.")
    console().print(NOTICE)


def _words(compared: Compared) -> dict[str, Any]:
    return {
        **(_figures(compared.psi) if compared.psi.n_reference else {}),
        "rest": _with_limits(compared.rest),
        "training": _with_limits(compared.training),
    }


def _figures(found: Stability) -> dict[str, Any]:
    return {"psi": f"{found.psi:.3f}", "interval": f"{found.low:.3f} to {found.high:.3f}"}


def _with_limits(found: Stability | None) -> str | None:
    return None if found is None else f"{found.psi:.3f} ({found.low:.3f} to {found.high:.3f})"
