"""The model card: what a bundle's description says, for people. It quotes only what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from model.evaluate import Evaluation

_FIGURES = (
    ("accuracy", "Accuracy"),
    ("auc", "AUC"),
    ("sensitivity", "Sensitivity"),
    ("specificity", "Specificity"),
)


def render_card(manifest: Mapping[str, Any], reported: Sequence[tuple[str, Evaluation]] = ()) -> str:
    """Write the model card of a bundle.

    Parameters
    ----------
    manifest : mapping
        The content of ``bundle.json``.
    reported : sequence of (str, Evaluation), optional
        Further sets of films, by name, that were only reported on and decided nothing.

    Returns
    -------
    str
        Markdown.
    """
    sections = [
        _head(manifest),
        _use(manifest["intended_use"]),
        _training(manifest),
        _validation(manifest),
        *(_report(name, evaluation) for name, evaluation in reported),
        _limits(manifest["intended_use"]),
    ]
    return "\n\n".join(sections) + "\n"


def _head(manifest: Mapping[str, Any]) -> str:
    lines = [
        f"# {manifest['name']}-{manifest['version']}",
        "",
        (
            f"Network `{manifest['network']}`: a {manifest['input_size']} x {manifest['input_size']} grey chest film in, "
            "the logit of pneumonia out. "
            f"A film whose probability, sigmoid(logit), is at least {manifest['threshold']} is called PNEUMONIA, "
            "any other NORMAL."
        ),
        "",
        "Not a medical device. Not for diagnosis.",
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


def _training(manifest: Mapping[str, Any]) -> str:
    data, training = manifest["training_data"], manifest["training"]
    augment, plateau = training["augment"], training["plateau"]
    epochs = [
        f"| {row['epoch']} | {row['learning_rate']:.2g} | {row['loss']:.4f} | {row['validation_loss']:.4f} "
        f"| {row['validation_accuracy']:.4f} | {row['validation_auc']:.4f} |"
        for row in training["history"]
    ]
    return "\n".join(
        [
            "## Training",
            "",
            (
                f"{data['title']}: {data['train_films']} films to train on and {data['validation_films']} to validate "
                "with, split by patient and type, so that no child is on both sides. Licence: "
                f"{data['licence']}. {data['citation']}"
            ),
            "",
            f"Split digest (SHA-256 over the sorted file names): `{data['split_digest']}`",
            "",
            (
                f"RMSprop from {training['learning_rate']:g}, binary cross-entropy, batches of {training['batch_size']}, "
                f"{training['epochs']} epochs, seed {training['seed']}. Each film is turned by up to "
                f"{augment['rotation_degrees']:g} degrees, stretched by up to {augment['zoom']:.0%}, moved by up to "
                f"{augment['shift']:.0%}{' and mirrored' if augment['horizontal_flip'] else ''} at random. After "
                f"{plateau['patience']} epochs without better validation accuracy the learning rate is multiplied by "
                f"{plateau['factor']:g}."
                + (
                    f" After each epoch the normalisation statistics are measured anew on {training['settle_films']} "
                    "training films."
                    if training["settle_films"]
                    else ""
                )
            ),
            "",
            f"Kept: the weights of epoch {training['best_epoch']}, the best by validation {training['keep_best']}.",
            "",
            "| epoch | learning rate | loss | validation loss | validation accuracy | validation AUC |",
            "| --- | --- | --- | --- | --- | --- |",
            *epochs,
        ]
    )


def _validation(manifest: Mapping[str, Any]) -> str:
    difference = manifest["training"]["engine_difference"]
    return "\n".join(
        [
            "## Measured on the validation films",
            "",
            (
                "By LiteRT, through the preprocessing that serving uses. The epoch and the threshold were chosen on these "
                "very films, so the figures are somewhat flattering."
            ),
            "",
            f"Command: `auscult model train --data TRAIN --config {manifest['training']['config']} --out RUN`",
            "",
            *_table(manifest["metrics"]),
            "",
            (
                "Largest difference between LiteRT and Keras on these films: "
                f"{difference['probability']:.1e} in a probability, {difference['logit']:.1e} in a logit between -10 and 10."
            ),
        ]
    )


def _report(name: str, evaluation: Evaluation) -> str:
    return "\n".join(
        [
            f"## Measured on {name}",
            "",
            "None of these films was trained on or validated with; the limits below say what else they may have decided.",
            "",
            f"Command: `auscult model evaluate {name}`",
            "",
            *_table(evaluation.as_dict()),
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


def _limits(use: Mapping[str, Any]) -> str:
    return "\n".join(["## Limits", "", *(f"- {limit}" for limit in use["limits"])])
