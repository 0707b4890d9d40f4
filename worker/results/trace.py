"""One document for each result of a study, with everything that made it: from SQL, from the store, from the bundle.

What is not kept is None, never inferred. Only digests of the patient's ID stand in it, no name and no date.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from dicom_io.film.version import FILM_VERSION
from dicom_io.gate.judge import AgeRange, GateInput, RuleSaid, each_rule
from dicom_io.gate.picture_statistics import picture_statistics
from dicom_io.gate.rules import Policy
from model.notice import NOTICE
from model.preprocess import PREPROCESS_VERSION
from model.serving.manifest import read_manifest
from worker.db.read.naming import none_matches
from worker.db.read.trace import traced_results
from worker.db.schema.revision import current_revision
from worker.judging.software import software
from worker.results.again import Kept

if TYPE_CHECKING:
    from model.serving.bundle import Bundle
    from worker.database import Database
    from worker.db.read.trace import TracedResult
    from worker.results.again import Judged, Original
    from worker.settings import Settings

#: Counts up when a field of the document changes its meaning or goes.
TRACE_VERSION = 1


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """Of which studies, and how much.

    Attributes
    ----------
    study : str
        Study Instance UID or accession number.
    side : int or None
        The row of the study where several patients have one; None: all of them.
    every : bool
        Whether all results are wanted, and not only those that count.
    again : bool
        Whether the scores are computed again.
    """

    study: str
    side: int | None = None
    every: bool = False
    again: bool = False


@dataclass(frozen=True, slots=True)
class Trace:
    """The studies that were found (`study_uid`, `side`), and a document for each result, the oldest first."""

    studies: list[dict[str, Any]]
    documents: list[dict[str, Any]]


def trace_study(settings: Settings, database: Database, request: TraceRequest) -> Trace:
    """Put together the documents of a study's results.

    Raises
    ------
    UsageError
        If no study matches.
    EngineError
        If the engine that gave a score is not installed; only where scores are computed again.
    """
    with database.reads() as session:
        studies, found = traced_results(session, request.study, request.side, every=request.every)
        schema = current_revision(session.connection())
    if not studies:
        raise none_matches(request.study, request.side)
    kept, today = Kept(settings), _today(schema)
    documents = [_document(settings, kept, traced, today, again=request.again) for traced in found]
    return Trace(studies, documents)


def _document(
    settings: Settings, kept: Kept, traced: TracedResult, today: dict[str, Any], *, again: bool
) -> dict[str, Any]:
    original, judged, bundle = kept.original(traced), kept.judged(traced), kept.bundle(traced)
    sections = traced.sections
    computed = kept.scored_again(traced) if again else None
    return {
        "notice": NOTICE,
        "trace_version": TRACE_VERSION,
        "result": sections["result"],
        "study": sections["study"],
        "object": sections["object"] | {"is_unaltered": original.is_unaltered, "why_not_read": original.why_not},
        "film": {
            "sha256": traced.film_sha256,
            "version": traced.film_version,
            "decoder": sections["decoder"],
            "look": sections["look"],
            "is_kept": judged.film is not None,
            "why_not_kept": judged.why_not,
        },
        "grey_chain": _grey_chain(traced, original),
        "gate": _gate(settings, traced, judged),
        "model": sections["model"] | {"operating_point": _operating_point(bundle), "bundle": _digests(bundle)},
        "members": _members(computed),
        "work": sections["work"],
        "times": sections["times"],
        "versions": {
            "judged_by": {
                **sections["software"],
                # No row keeps the schema of then.
                "schema": None,
                "film": traced.film_version,
                "preprocess": sections["model"]["preprocess_version"],
            },
            "traced_by": today,
        },
        "superseded_by": sections["superseded_by"],
        "object_superseded_by": sections["object_superseded_by"],
        "again": computed,
    }


def _grey_chain(traced: TracedResult, original: Original) -> dict[str, Any]:
    """The grey chain that the code of today applies to the original, and whether that gives the film that was judged."""
    if original.film is None or original.chain is None:
        return {"why_not": original.why_not, "film_version": None, "makes_the_judged_film": None, "applied": None}
    return {
        "why_not": None,
        "film_version": original.film.version,
        "makes_the_judged_film": original.film.sha256 == traced.film_sha256 if traced.film_sha256 else None,
        "applied": asdict(original.chain),
    }


def _gate(settings: Settings, traced: TracedResult, judged: Judged) -> dict[str, Any]:
    """What the result records of the gate, and what each rule says of the recorded facts and the film today.

    The policies of the time are recorded only where a rule refused or flagged the film.
    """
    youngest, oldest = traced.sections["model"]["age_years"]
    given = GateInput(traced.image.facts, AgeRange(youngest, oldest), unlikeness=traced.unlikeness)
    if judged.film is not None:
        given = replace(given, statistics=picture_statistics(judged.film.pixels))
    rules = each_rule(given, settings.policies)
    return {
        "refused_by": traced.reason if traced.reason in {said.reason for said in rules} else None,
        "flags": list(traced.flags),
        "rules": [
            {
                "rule": said.reason,
                "stage": said.stage,
                "applies": said.applies,
                "recorded_policy": _recorded(traced, said),
                "policy_today": said.policy,
            }
            for said in rules
        ],
    }


def _recorded(traced: TracedResult, said: RuleSaid) -> Policy | None:
    """The policy by which a rule acted then; None where no row tells it."""
    # A code may belong to a rule of the header and to one of the picture: the one that applies has acted.
    if said.applies is False:
        return None
    if said.reason == traced.reason:
        return Policy.REFUSE
    return Policy.FLAG if said.reason in traced.flags else None


def _operating_point(bundle: Bundle | None) -> dict[str, Any] | None:
    """Calibration, threshold and bands by the bundle itself; None where it is not here as it was."""
    if bundle is None:
        return None
    return {
        "calibration": bundle.calibration.as_dict() if bundle.calibration else None,
        "threshold": bundle.threshold,
        "bands": {"low": bundle.bands.low, "high": bundle.bands.high} if bundle.bands else None,
        "has_scope": bundle.scope is not None,
        "network": bundle.network,
        "input_size": bundle.input_size,
        "derived_from": bundle.derived_from,
        "is_of_this_site": bundle.site is not None,
    }


def _digests(bundle: Bundle | None) -> dict[str, Any] | None:
    """SHA-256 of the bundle's description and of its files, which were checked when it was opened; None where it is gone.

    SQL keeps those of the trained network and of the file that was made of it for LiteRT.
    """
    if bundle is None:
        return None
    manifest = read_manifest(bundle.path)
    return {"manifest_sha256": manifest["manifest_sha256"], "files": manifest["files"]}


def _members(again: dict[str, Any] | None) -> list[float] | None:
    """The members' logits for the film that was judged; they are not recorded, so only a second run has them."""
    for source in ("from_film", "from_original"):
        tried = (again or {}).get(source) or {}
        if tried.get("is_within_rounding"):
            members: list[float] | None = tried["members"]
            return members
    return None


def _today(schema: str | None) -> dict[str, Any]:
    """The versions of the program that writes the document."""
    return {**asdict(software()), "schema": schema, "film": FILM_VERSION, "preprocess": PREPROCESS_VERSION}
