"""The sections of a model card on explanations and on films out of scope."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model.card.markdown import markdown_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def explanation_section(manifest: Mapping[str, Any]) -> str:
    """What ``trust.measure_trust`` found; empty for a bundle that was exported before it was measured."""
    found = manifest.get("explanation")
    if not found:
        return ""
    randomisation, passed_over = found["randomisation"], found.get("passed_over")
    forgotten = markdown_table(
        ["layers that forgot", "rank correlation", "structural similarity"],
        [
            [f"{row['share']:.0%}", f"{row['spearman']:.2f}", f"{row['structure']:.2f}"]
            for row in randomisation["steps"]
        ],
    )
    return "\n".join(
        [
            "## Explanations",
            "",
            (
                f"{_HOW[found['method']]} Two tests ask whether the maps follow the network, not whether the network is "
                "right, so films with pneumonia from the training data will do."
            ),
            "",
            (
                f"Deletion ({found['films']} films): the places that speak most for pneumonia are covered with the film's "
                "mean grey, and for comparison places of the same shape and size elsewhere."
            ),
            "",
            *_covered(found["deletion"]),
            *(["", _PASSED_OVER, "", *_covered(passed_over)] if passed_over else []),
            "",
            (
                f"Randomisation ({randomisation['films']} films, {randomisation['layers']} layers): from the top down, "
                "layers lose what they learnt. The maps are compared with those of the trained network; 1 means "
                "unchanged, as the maps of an edge detector would be."
            ),
            "",
            *forgotten,
            *(() if passed_over else _engines(found["map_difference"])),
        ]
    )


_HOW = {
    "hirescam": "The maps of evidence are HiResCAM maps: their means and a bias are the logit.",
    "occlusion": (
        "The maps of evidence are occlusion maps: by how many logits the answer falls when a place is covered with the "
        "film's mean grey. LiteRT makes them, without TensorFlow."
    ),
}
_PASSED_OVER = "HiResCAM maps of this network fail the same test: they do not tell where its evidence lies."


def _covered(deletion: Sequence[Mapping[str, Any]]) -> list[str]:
    return markdown_table(
        ["covered", "logit falls by", "as much covered elsewhere", "falls further in"],
        [
            [f"{row['share']:.0%}", f"{row['fall']:.2f}", f"{row['elsewhere']:.2f}", f"{row['further']:.0%} of films"]
            for row in deletion
        ],
    )


def _engines(difference: float | None) -> list[str]:
    if difference is None:
        return ["", "The maps need TensorFlow: LiteRT gives this network's logit alone."]
    return [
        "",
        (
            f"LiteRT gives the same maps without TensorFlow: they differ by at most {difference:.1e} of the largest "
            "evidence."
        ),
    ]


def scope_section(manifest: Mapping[str, Any]) -> str:
    """How many films like the training films are called unlike them; empty for a bundle without a scope."""
    share = manifest.get("scope_refused_share")
    if share is None:
        return ""
    by_fold = manifest.get("scope_by_fold") or ()
    folds = (
        f" Counted again fold by fold, with limits that know nothing of the fold: "
        f"{', '.join(f'{each:.2%}' for each in by_fold)}."
        if by_fold
        else ""
    )
    return "\n".join(
        [
            "## Out of scope",
            "",
            (
                "Each film is first held against what the training films look like (`scope.npz`); one that is too unlike "
                "them is refused or flagged, as the site wants. Of training films that were held out from learning what "
                f"they look like, {share:.2%} are called unlike.{folds}"
            ),
        ]
    )
