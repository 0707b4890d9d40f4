"""The model card: what a bundle's description says, for people. It quotes only what was measured.

Its sections follow Mitchell et al. 2019, "Model cards for model reporting".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model.card.explanation import explanation_section, scope_section
from model.card.markdown import markdown_table
from model.card.operating_point import point_sections
from model.notice import NOTICE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


_FIGURES = (
    ("accuracy", "Accuracy"),
    ("auc", "AUC"),
    ("sensitivity", "Sensitivity"),
    ("specificity", "Specificity"),
)


def render_card(manifest: Mapping[str, Any]) -> str:
    """Write the model card of a bundle.

    Parameters
    ----------
    manifest : mapping
        The content of ``bundle.json``.

    Returns
    -------
    str
        Markdown.
    """
    sections = [
        _details(manifest),
        _use(manifest["intended_use"]),
        _data(manifest),
        _training(manifest),
        _metrics(manifest),
        _folds(manifest),
        _kinds(manifest),
        _style(manifest),
        *point_sections(manifest),
        _evidence(manifest),
        explanation_section(manifest),
        scope_section(manifest),
        _limits(manifest["intended_use"]),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _details(manifest: Mapping[str, Any]) -> str:
    members = len(manifest["training"]["members"])
    made_of = f"`{manifest['network']}`" + (f", {members} members whose logits are averaged" if members > 1 else "")
    calibration = manifest["calibration"]
    probability = (
        f"sigmoid({calibration['slope']:.4g} x logit {calibration['intercept']:+.4g})"
        if calibration
        else "sigmoid(logit)"
    )
    lines = [
        f"# {manifest['name']}-{manifest['version']}",
        "",
        (
            f"Network {made_of}: a {manifest['input_size']} x {manifest['input_size']} grey chest film in, the logit of "
            f"pneumonia out. A film whose probability, {probability}, is at least {manifest['threshold']} is called "
            "PNEUMONIA, any other NORMAL."
        ),
        "",
        NOTICE,
        "",
        (
            "The network knows two classes. NORMAL means that pneumonia was not detected, and says nothing about any other "
            "disease."
        ),
    ]
    if calibration:
        lines += [
            "",
            "The probability is that for a place where half the films show pneumonia; where fewer do, it is lower.",
        ]
    if manifest["derived_from"]:
        lines += ["", f"Derived from {manifest['derived_from']}: the same weights, another threshold."]
    return "\n".join(lines)


def _use(use: Mapping[str, Any]) -> str:
    youngest, oldest = use["age_years"]
    return "\n".join(
        [
            "## Intended use",
            "",
            str(use["statement"]),
            "",
            f"- Body part: {use['body_part']}",
            f"- Projection: {', '.join(use['projections'])}",
            f"- Age: {youngest} to {oldest} completed years",
        ]
    )


def _data(manifest: Mapping[str, Any]) -> str:
    data = manifest["training_data"]
    split = (
        f"{data['films']} films in {data['folds']} folds by patient and type: each member is trained on all folds but "
        f"one, and every film is judged by the member that has not seen that child."
        if data["folds"]
        else f"{data['train_films']} films to train on and {data['validation_films']} to validate with, split by "
        "patient and type, so that no child is on both sides."
    )
    return "\n".join(
        [
            "## Training and validation data",
            "",
            f"{data['title']}: {split} Licence: {data['licence']}. {data['citation']}",
            "",
            f"Split digest (SHA-256 over the sorted file names): `{data['split_digest']}`",
        ]
    )


def _training(manifest: Mapping[str, Any]) -> str:
    training = manifest["training"]
    lines = [
        "## Training",
        "",
        f"Command: `auscult model train --data TRAIN --config {training['config']} --out RUN`",
        "",
        "| setting | value |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in _settings(training["settings"])),
        *_start(manifest.get("start")),
    ]
    for number, member in enumerate(training["members"], start=1):
        last, best = member["history"][-1], member["history"][member["best_epoch"] - 1]
        lines += [
            "",
            (
                f"Member {number}: {member['epochs']} epochs, kept epoch {member['best_epoch']} (validation loss "
                f"{best['validation_loss']:.4f}, AUC {best['validation_auc']:.4f}); training loss at the end "
                f"{last['loss']:.4f}."
            ),
        ]
    return "\n".join(lines)


def _start(start: Mapping[str, Any] | None) -> Iterable[str]:
    """Where the weights came from that training began with."""
    if not start:
        return
    yield ""
    yield (
        f"Training started from weights that others had trained: {start['title']}, from {start['source']}. Licence: "
        f"{start['licence']}. SHA-256 of the file: `{start['sha256']}`."
    )


def _settings(settings: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in settings.items():
        if name in {"name", "version", "intended_use", "training_data"} or value is None:
            continue
        if isinstance(value, dict):
            yield from _settings(value, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
            yield prefix + name, "; ".join(", ".join(f"{k} {v}" for k, v in item.items()) for item in value)
        else:
            yield prefix + name, str(tuple(value) if isinstance(value, list) else value)


def _metrics(manifest: Mapping[str, Any]) -> str:
    difference, folds = manifest["engine_difference"], manifest["training_data"]["folds"]
    settings = manifest["training"]["settings"]
    title, how = (
        (
            "## Cross-validated figures",
            (
                "Each film was judged by the one member that had not seen that child; the bundle averages all members, "
                "which no film here can measure. The threshold was set on these answers."
            ),
        )
        if folds
        else (
            "## Measured on the validation films",
            (
                "Through the preprocessing that serving uses. "
                + (
                    "The operating point was"
                    if settings.get("keep_best") == "last"
                    else "The epoch and the threshold were"
                )
                + " chosen on these very films, so the figures are somewhat flattering."
            ),
        )
    )
    return "\n".join(
        [
            title,
            "",
            how,
            "",
            *_table(manifest["metrics"]),
            "",
            (
                f"Largest difference between LiteRT and Keras: {difference['probability']:.1e} in a probability, "
                f"{difference['logit']:.1e} in a logit between -10 and 10."
            ),
        ]
    )


def _table(metrics: Mapping[str, Any]) -> list[str]:
    rows = [
        f"| {title} | {metrics[key]:.4f} | {metrics[key + '_ci'][0]:.4f} to {metrics[key + '_ci'][1]:.4f} |"
        for key, title in _FIGURES
    ]
    (tn, fp), (fn, tp) = metrics["confusion"]
    return [
        f"{metrics['n']} films, threshold {metrics['threshold']}.",
        "",
        "| | value | 95 % interval |",
        "| --- | --- | --- |",
        *rows,
        f"| Expected calibration error (10 bins) | {metrics['ece']:.4f} | |",
        "",
        "| | called NORMAL | called PNEUMONIA |",
        "| --- | --- | --- |",
        f"| NORMAL | {tn} | {fp} |",
        f"| PNEUMONIA | {fn} | {tp} |",
    ]


def _folds(manifest: Mapping[str, Any]) -> str:
    rows = [
        [
            number,
            fold["films"],
            *(f"{fold[figure]:.4f}" for figure in ("auc", "accuracy", "sensitivity", "specificity")),
        ]
        for number, fold in enumerate(manifest.get("folds", ()), start=1)
    ]
    if len(rows) < 2:
        return ""
    return "\n".join(
        ["## By fold", "", *markdown_table(["fold", "films", "AUC", "accuracy", "sensitivity", "specificity"], rows)]
    )


def _kinds(manifest: Mapping[str, Any]) -> str:
    rows = [
        [
            kind["kind"],
            kind["label"],
            kind["films"],
            f"{kind['right']:.4f}",
            f"{kind['right_ci'][0]:.4f} to {kind['right_ci'][1]:.4f}",
        ]
        for kind in manifest.get("kinds", ())
    ]
    if not rows:
        return ""
    columns = ["type", "label", "films", "rightly called", "95 % interval"]
    return "\n".join(["## By type of film", "", *markdown_table(columns, rows)])


def _style(manifest: Mapping[str, Any]) -> str:
    style = manifest.get("style")
    if not style:
        return ""
    row = [f"{style[figure]:.4f}" for figure in ("auc", "sensitivity", "specificity")]
    return "\n".join(
        [
            "## Where style says nothing",
            "",
            (
                "In the training data sharpness goes with the label: the finer half of the power spectrum alone tells it. "
                "Here the same answers are weighted so that it does not (inverse propensity weights, at most "
                f"{style['bound']:g}), which is nearer to films from elsewhere."
            ),
            "",
            *markdown_table(["AUC", "sensitivity", "specificity"], [row]),
        ]
    )


def _evidence(manifest: Mapping[str, Any]) -> str:
    """The tables that other programs measured: candidates under stress, films the bundle was shown afterwards."""
    parts: list[str] = []
    for table in manifest.get("evidence", ()):
        parts += [f"## {table['title']}", "", table["text"], ""]
        if table.get("command"):
            parts += [f"Command: `{table['command']}`", ""]
        parts += [*markdown_table(table["columns"], table["rows"]), ""]
    return "\n".join(parts).rstrip()


def _limits(use: Mapping[str, Any]) -> str:
    return "\n".join(["## Limits and failures", "", *(f"- {limit}" for limit in use["limits"])])
