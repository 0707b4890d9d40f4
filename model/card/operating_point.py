"""The part of a model card that follows from the operating point: stress rows, thresholds, bands, films from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model.augmentation.perturb import Role
from model.card.markdown import markdown_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ROLES = {Role.FIT.value: "fits the operating point", Role.CHECK.value: "checks it"}


def point_sections(manifest: Mapping[str, Any]) -> list[str]:
    """The sections, each Markdown; empty where a bundle's description does not have what one shows."""
    return [
        _stress(manifest),
        _thresholds(manifest),
        _predictive(manifest),
        _calibration(manifest),
        _bands(manifest),
        _external(manifest),
    ]


def _stress(manifest: Mapping[str, Any]) -> str:
    table = manifest.get("stress")
    if not table:
        return _perturbed(manifest)
    columns = ["film", "what the row does", "AUC", "sensitivity", "specificity", "lost of each", "holds"]
    rows = [
        [
            row["name"],
            _ROLES[row["role"]],
            f"{row['auc']:.4f}",
            f"{row['sensitivity']:.4f}",
            f"{row['specificity']:.4f}",
            f"{row['sensitivity_loss']:+.3f}, {row['specificity_loss']:+.3f}",
            "yes" if row["holds"] else "**no**",
        ]
        for row in table["rows"]
    ]
    pooled = table["pooled_auc"]
    return _section(
        "Films that are changed",
        (
            f"The same {table['films']} held-out films, each changed as named before it reaches the network's "
            f"preprocessing, at the one threshold {table['threshold']}. A row holds if it loses at most "
            f"{table['max_loss']:g} of sensitivity and of specificity against the unchanged films. Half of the rows may "
            "help to fit the operating point; the other half is kept out of it and shows whether it holds."
        ),
        _table(columns, rows),
        "\n".join(
            [
                *(f"- {_verdict(table, role)}" for role in Role if role.value in pooled),
                f"- AUC over all films of all rows together: {pooled['all']:.4f}.",
            ]
        ),
    )


def _verdict(table: Mapping[str, Any], role: Role) -> str:
    among = [row for row in table["rows"] if row["role"] == role]
    broken = [row["name"] for row in among if not row["holds"]]
    found = f"PASSED, all {len(among)} hold" if not broken else f"FAILED by {', '.join(broken)}"
    return f"Rows that may fit: {found}." if role is Role.FIT else f"Rows that check: {found}."


def _perturbed(manifest: Mapping[str, Any]) -> str:
    """What a bundle had before it had a stress table."""
    rows = [
        [row["name"], *(f"{row[figure]:.4f}" for figure in ("auc", "sensitivity", "specificity"))]
        for row in manifest.get("perturbed", ())
    ]
    if not rows:
        return ""
    return _section(
        "Films that are changed",
        "The same held-out films, each changed as named before it reaches the network's preprocessing.",
        _table(["film", "AUC", "sensitivity", "specificity"], rows),
    )


def _thresholds(manifest: Mapping[str, Any]) -> str:
    table = manifest.get("stress")
    if not table:
        return ""
    columns = ["film", *(f"from {at:g}" for at, *_ in table["rows"][0]["thresholds"])]
    rows = [
        [row["name"], *(f"{found:.3f} / {spared:.3f}" for _, found, spared in row["thresholds"])]
        for row in table["rows"]
    ]
    return _section(
        "Other thresholds",
        "Sensitivity / specificity of the same films if PNEUMONIA began at another probability.",
        _table(columns, rows),
    )


def _predictive(manifest: Mapping[str, Any]) -> str:
    found = manifest.get("predictive_values")
    if not found:
        return ""
    sets = list(dict.fromkeys(row["films"] for row in found))
    prevalences = list(dict.fromkeys(row["prevalence"] for row in found))
    cells = {(row["films"], row["prevalence"]): f"{_share(row['ppv'])} / {_share(row['npv'])}" for row in found}
    return _section(
        "Predictive values",
        (
            "Share of PNEUMONIA that is pneumonia / share of NORMAL that is none, by the share of films that show "
            "pneumonia where the network is used (from sensitivity and specificity, Bayes)."
        ),
        _table(
            ["prevalence", *sets],
            [[f"{prevalence:.0%}", *(cells[films, prevalence] for films in sets)] for prevalence in prevalences],
        ),
    )


def _share(value: float | None) -> str:
    return "none called so" if value is None else f"{value:.3f}"


def _calibration(manifest: Mapping[str, Any]) -> str:
    found = manifest.get("calibration_check")
    if not found:
        return ""
    return _section(
        "Calibration",
        (
            "Slope and intercept of the labels' regression on the logit of the probability, both labels weighing alike: 1 "
            "and 0 where the probabilities are right, a slope below 1 where they are too sure. The expected calibration "
            "error is over 10 bins, of the probabilities as they are and restated for these films' share of pneumonia."
        ),
        _table(
            ["held-out films", "slope", "intercept", "ECE", "ECE restated"],
            [
                [row["films"], *(f"{row[key]:.3f}" for key in ("slope", "intercept", "ece", "ece_restated"))]
                for row in found
            ],
        ),
    )


def _bands(manifest: Mapping[str, Any]) -> str:
    bands = manifest["bands"]
    if not bands:
        return ""
    ranges = {
        "LOW": f"below {bands['low']}",
        "INTERMEDIATE": f"{bands['low']} to below {bands['high']}",
        "HIGH": f"from {bands['high']}",
    }
    films = max(sum(found["films"] for found in bands["observed"].values()), 1)
    rows = [
        [
            band,
            ranges[band],
            f"{found['films']} ({found['films'] / films:.1%})",
            found["pneumonia"],
            f"{found['rate_ci'][0]:.3f} to {found['rate_ci'][1]:.3f}" if found["rate_ci"] else "",
        ]
        for band, found in bands["observed"].items()
    ]
    columns = ["band", "probability", "films", "with pneumonia", "95 % interval of the rate"]
    stress = manifest.get("stress")
    banded = _banded(stress["rows"]) if stress and "bands" in stress["rows"][0] else ()
    return _section(
        "Bands", _promise(bands.get("bound"), manifest["training_data"]["folds"]), _table(columns, rows), *banded
    )


def _promise(bound: Mapping[str, Any] | None, folds: int) -> str:
    if not bound:
        return ""
    apart = " Each film was judged by one member; the bundle averages all." if folds else ""
    by = bound["by"]
    many = "children" if by == "child" else "films"
    films = ", a child counting as soon as one of its films is there" if by == "child" else ""
    return (
        f"By {by}, at most {bound['error']:.0%} of those with pneumonia are LOW and at most {bound['error']:.0%} of the "
        f"normal ones HIGH{films}: P(LOW | pneumonia) and P(HIGH | normal), which do not move with prevalence as "
        f"predictive values do. Split conformal bounds, from {bound['pneumonia']} {many} with pneumonia and "
        f"{bound['normal']} normal ones, each row that may fit by itself, the most careful taken. A bound holds on "
        "average for further ones that are like these; films from elsewhere may not be, and the rows that check tell how "
        f"far it goes.{apart}"
    )


def _banded(rows: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    columns = ["film", "LOW given pneumonia", "HIGH given normal", "LOW", "INTERMEDIATE", "HIGH"]
    cells = [
        [
            row["name"],
            f"{row['low_given_pneumonia']:.4f}",
            f"{row['high_given_normal']:.4f}",
            *(f"{row['bands'][band]:.3f}" for band in ("LOW", "INTERMEDIATE", "HIGH")),
        ]
        for row in rows
    ]
    return "Errors by child, and shares of the films in each band:", _table(columns, cells)


def _external(manifest: Mapping[str, Any]) -> str:
    found = manifest.get("external", ())
    columns = ["films", "date", "n", "measured as", "threshold", "AUC", "accuracy", "sensitivity", "specificity", "ECE"]
    rows = [
        [
            ("Another hospital: " if row["elsewhere"] else "") + row["title"],
            row["date"],
            row["films"],
            row["model"],
            row["threshold"],
            *(f"{row[figure]:.3f}" for figure in ("auc", "accuracy", "sensitivity", "specificity", "ece")),
        ]
        for row in found
    ]
    if not any(row["elsewhere"] for row in found):
        rows.append(["External evidence: none (films of another hospital)", *[""] * (len(columns) - 1)])
    return _section(
        "Evidence on other films",
        (
            "One hospital proves little. Networks for pneumonia that were tested at another hospital than that of their "
            "training fell to an AUC of 0.54 to 0.82 in public reports (one of them Zech et al. 2018, PLoS Medicine "
            "15:e1002683). What this network does elsewhere only films from there can tell."
        ),
        _table(columns, rows),
        *(f"{row['title']}: {row['note']}" for row in found if row.get("note")),
    )


def _section(title: str, *blocks: str) -> str:
    """A heading and what is below it, apart by empty lines; empty blocks are left out."""
    return "\n\n".join([f"## {title}", *(block for block in blocks if block)])


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    return "\n".join(markdown_table(columns, rows))
