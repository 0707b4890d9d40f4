"""The tables of a run in Markdown, for the terminal, the page of the documentation and README.md."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.peers.verdict import line_of, network_ceiling, rate, senders_of, short, verdicts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.peers.verdict import Verdict


#: How many times its CPU a film may take on an idle machine, from the last byte to the row.
MOST_WAIT = 3


def tables(report: dict[str, Any]) -> str:
    """Everything that a run found."""
    many = max(senders_of(report))
    against = (
        "### Against the others\n\nStudies a second from the first byte to the last committed row, the whole system; medians of "
        "the rounds (least to most). The ratios are medians of those of the same round. The ceiling is the lower of durable "
        f"storescp's rate and {short(network_ceiling(report))} studies a second, which the network alone would allow on all "
        "cores."
    )
    cpu = (
        f"### CPU\n\nCPU milliseconds a study of all processes, until nothing is left to do; {many} senders, medians "
        "(least to most)."
    )
    variants = f"### All variants\n\nStudies a second, medians (least to most); 1 sender, then {many}."
    alone = (
        "### One film on an idle machine\n\nMilliseconds from the last byte handed to the network to the committed row: median, "
        "then the slowest. Memory is the proportional set size (PSS) of all processes afterwards."
    )
    parts = [
        f"{about(report)}.",
        against,
        *(_against(report, senders) for senders in reversed(senders_of(report))),
        cpu,
        _cpu(report, many),
        variants,
        _variants(report),
        alone,
        _alone(report),
        _prompt(report),
        "### What falls short",
        _missed(report),
        "### What each guarantees",
        _guarantees(report),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def about(report: dict[str, Any]) -> str:
    """When, where and with what a run was."""
    named = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    return (
        f"{report['date']}, commit {report['commit']}, {report['machine']}; {named}; model {report['model']}; "
        f"{report['rounds']} round{'s' if report['rounds'] > 1 else ''}"
    )


def readme(report: dict[str, Any]) -> str:
    """The table of README.md."""
    many = max(senders_of(report))
    rows = [
        [
            _title(report, found.kind),
            short(found.obvious.median),
            short(found.tuned.median),
            f"**{short(found.ours.median)}**",
            f"{short(found.against_obvious)} / {short(found.against_tuned)}",
        ]
        for found in verdicts(report, many)
    ]
    head = ["film", "Orthanc, the obvious way", "Orthanc, tuned", "Auscult", "against these"]
    versions = report["versions"]
    return (
        f"Studies a second from C-STORE to the committed row, {many} senders, the whole system, medians of {report['rounds']} "
        "rounds:\n\n"
        + markdown(head, rows)
        + f"\n{report['date']}, commit {report['commit']}, {report['machine']}, Orthanc "
        f"{versions['Orthanc']} with its Python plug-in {versions['orthanc-python']}. Unlike Auscult, the tuned one syncs "
        "nothing to disk.\n"
    )


def compared(report: dict[str, Any], before: dict[str, Any]) -> str:
    """What changed since another run, whatever machine that was on."""
    lines = [f"\nAgainst {about(before)}:\n"]
    for senders in senders_of(report):
        if senders not in senders_of(before):
            continue
        earlier = {found.kind: found for found in verdicts(before, senders)}
        lines += [_change(now, earlier[now.kind]) for now in verdicts(report, senders) if now.kind in earlier]
    return "\n".join(lines)


def _change(now: Verdict, old: Verdict) -> str:
    return (
        f"{now.kind:6} {now.senders} sender{'s' if now.senders > 1 else ''}: {short(old.ours.median)} -> {short(now.ours.median)} studies/s, "
        f"{short(old.ours.cpu_ms)} -> {short(now.ours.cpu_ms)} CPU ms; against the obvious way "
        f"{short(old.against_obvious)} -> {short(now.against_obvious)}, against the tuned one "
        f"{short(old.against_tuned)} -> {short(now.against_tuned)}"
    )


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _against(report: dict[str, Any], senders: int) -> str:
    head = [
        "film",
        "obvious way",
        "best tuned",
        "Auscult",
        "against the obvious way",
        "against tuned",
        "ceiling",
        "targets",
    ]
    rows = [
        [
            _title(report, found.kind),
            str(found.obvious),
            f"{found.tuned}, {found.tuned_key[-1]} processes"
            if found.tuned_key != "tuned-1"
            else f"{found.tuned}, 1 process",
            str(found.ours),
            short(found.against_obvious),
            short(found.against_tuned),
            f"{short(found.ceiling)}, {found.bounded_by}" if found.ceiling else "-",
            _judged(found),
        ]
        for found in verdicts(report, senders)
    ]
    return f"{senders} sender{'s' if senders > 1 else ''}:\n\n" + markdown(head, rows)


def _judged(found: Verdict) -> str:
    asked = f"{found.target.obvious:g}x / {found.target.tuned:g}x"
    if found.is_met:
        return f"{asked}: met" + (" (ceiling)" if found.is_near_ceiling else "")
    return f"{asked}: missed"


def _missed(report: dict[str, Any]) -> str:
    """The rows whose targets are missed, with the ratios that were reached."""
    found = (found for senders in reversed(senders_of(report)) for found in verdicts(report, senders))
    return "\n".join(_miss(report, each) for each in found if not each.is_met) or "Every target is met."


def _miss(report: dict[str, Any], found: Verdict) -> str:
    of_ceiling = f"{found.ours.median / found.ceiling:.2f} of the ceiling" if found.ceiling else "no ceiling measured"
    return (
        f"- {_kind(report, found.kind)['title']}, {found.senders} sender{'s' if found.senders > 1 else ''}: "
        f"{short(found.against_obvious)} of {found.target.obvious:g} times the obvious way, "
        f"{short(found.against_tuned)} of {found.target.tuned:g} times the tuned one, {of_ceiling}"
    )


def _cpu(report: dict[str, Any], senders: int) -> str:
    kinds = [kind["key"] for kind in report["kinds"]]
    rows = []
    for system in report["systems"]:
        cells = []
        for kind in kinds:
            line = line_of(report, system["key"], kind, senders)
            found = rate(line) if line else None
            cells.append(f"{short(found.cpu_ms)} ({short(found.cpu_least)}-{short(found.cpu_most)})" if found else "-")
        rows.append([system["title"], *cells])
    return markdown(["system", *(kind["title"] for kind in report["kinds"])], rows)


def _variants(report: dict[str, Any]) -> str:
    rows = []
    for system in report["systems"]:
        cells = []
        for kind in report["kinds"]:
            found = [line_of(report, system["key"], kind["key"], senders) for senders in senders_of(report)]
            cells.append("<br>".join(str(rate(line)) for line in found if line) or "-")
        rows.append([system["title"], *cells, _difference(report, system["key"])])
    head = ["system", *(kind["title"] for kind in report["kinds"]), "probability, largest difference from Auscult's"]
    return markdown(head, rows)


def _difference(report: dict[str, Any], system: str) -> str:
    found = report["score_differences"].get(system)
    return f"{max(found.values()):.3f}" if found else "-"


def _alone(report: dict[str, Any]) -> str:
    rows = []
    for system in report["systems"]:
        if alone := report["alone"].get(system["key"]):
            times = [alone["latency_ms"][kind["key"]]["last"] for kind in report["kinds"]]
            cells = [f"{short(statistics.median(each))}, {short(max(each))}" for each in times]
            rows.append(
                [
                    system["title"],
                    *cells,
                    f"{alone['pss_mb']:.0f} MB, {alone['processes']} process{'es' if alone['processes'] > 1 else ''}",
                ]
            )
    return markdown(["system", *(kind["title"] for kind in report["kinds"]), "memory"], rows)


def _prompt(report: dict[str, Any]) -> str:
    """How long Auscult lets one film wait on an idle machine, in units of its CPU."""
    latencies = report["alone"]["auscult"]["latency_ms"]
    times = []
    for kind in report["kinds"]:
        line = line_of(report, "auscult", kind["key"], min(senders_of(report)))
        if line:
            times.append(max(latencies[kind["key"]]["last"]) / rate(line).cpu_ms)
    verdict = "met" if max(times) < MOST_WAIT else "missed"
    return (
        f"Auscult's slowest film took {min(times):.1f} to {max(times):.1f} times the CPU of a film of its kind (target: 95 of 100 "
        f"films less than {MOST_WAIT:g} times): {verdict}."
    )


def _guarantees(report: dict[str, Any]) -> str:
    return markdown(["system", "what holds"], [[system["title"], system["guarantees"]] for system in report["systems"]])


def _title(report: dict[str, Any], key: str) -> str:
    kind = _kind(report, key)
    return f"{kind['title']}, {short(kind['megabytes'])} MB"


def _kind(report: dict[str, Any], key: str) -> dict[str, Any]:
    found: dict[str, Any] = next(kind for kind in report["kinds"] if kind["key"] == key)
    return found
