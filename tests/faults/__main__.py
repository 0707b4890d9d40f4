"""`python3 dev.py faults`: rounds of every kind of fault, at random from a seed, for as long as it is told."""

from __future__ import annotations

import argparse
import json
import platform
import random
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.faults.host import library
from tests.faults.kinds import KINDS
from tests.faults.rounds import Campaign, Played, last_line, row_of
from tests.faults.stack import POSTGRESQL, SQLITE, Stack

if TYPE_CHECKING:
    from tests.faults.turn import Kind


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="dev.py faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long, at least one round of each kind chosen")
    parser.add_argument(
        "--seed", type=int, default=None, help="the same seed sends the same studies and draws the same faults"
    )
    parser.add_argument("--database", choices=(SQLITE, POSTGRESQL), default=SQLITE)
    parser.add_argument("--kind", action="append", help="only kinds whose name contains this; may be repeated")
    parser.add_argument("--studies", type=int, default=16, help="studies of each round")
    parser.add_argument("--out", type=Path, help="a JSON file for the table")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1 << 31)
    chosen = [
        kind
        for kind in KINDS.values()
        if arguments.database in kind.databases
        and (library() or not kind.needs_shim)
        and (not arguments.kind or any(part in kind.name for part in arguments.kind))
    ]
    say(f"{len(chosen)} kinds on {arguments.database}, seed {seed}")
    with Stack(arguments.database) as stack, Campaign(stack, seed, arguments.studies) as campaign:
        is_clean = run(campaign, chosen, arguments.minutes)
        report = report_of(campaign, arguments.database, arguments.minutes)
        if not is_clean:
            keep_logs(stack)
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print_table(report["kinds"])
    say(
        f"a later film's answer, longest: NORMAL for {campaign.reader.longest_late_s:.2f} s, of {campaign.reader.polls} polls"
    )
    say(last_line(report["kinds"]))
    return 0 if is_clean else 1


def run(campaign: Campaign, kinds: list[Kind], minutes: float) -> bool:
    """Play every kind in a random order, again and again, until the time is over; whether all promises held."""
    until = time.monotonic() + minutes * 60
    is_clean = True
    waiting: list[Kind] = []
    while time.monotonic() < until or len({each.kind for each in campaign.played}) < len(kinds):
        waiting = waiting or campaign.rng.sample(kinds, len(kinds))
        played = campaign.play(waiting.pop())
        tell(played)
        is_clean = is_clean and played.verdict.is_clean
    final = campaign.check_all()
    for sentence in final.sentences():
        say(f"at the end: {sentence}")
    return is_clean and final.is_clean


def tell(played: Played) -> None:
    mark = "ok" if played.verdict.is_clean else "FOUND"
    say(
        f"{mark:5} {played.kind}: {'; '.join(played.steps)}: {played.studies} studies, {played.objects} objects, "
        f"whole after {played.recovery_s:.1f} s, {played.took_s:.1f} s in all"
    )
    for sentence in played.verdict.sentences():
        say(f"      {sentence}")


def report_of(campaign: Campaign, database: str, minutes: float) -> dict[str, Any]:
    """What is kept of a run."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    rows = [row_of(name, campaign.of(name)) for name in KINDS if campaign.of(name)]
    return {
        "database": database,
        "seed": campaign.seed,
        "minutes": minutes,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit.stdout.strip(),
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "longest_late_s": round(campaign.reader.longest_late_s, 2),
        "polls": campaign.reader.polls,
        "kinds": [{**row, "group": KINDS[row["kind"]].group} for row in rows],
        "line": last_line(rows),
    }


def keep_logs(stack: Stack) -> None:
    kept = Path("build/faults")
    kept.mkdir(parents=True, exist_ok=True)
    for log in stack.root.glob("*.log"):
        (kept / log.name).write_bytes(log.read_bytes())
    say(f"the logs of the site are in {kept}")


def print_table(rows: list[dict[str, Any]]) -> None:
    say("")
    for row in rows:
        say(
            f"{row['kind']:58} {row['rounds']:4} rounds {row['studies']:5} studies  {row['lost']} lost {row['doubled']} doubled "
            f"{row['stuck']} stuck {row['silent']} silent {row['wrong']} wrong  whole after {row['slowest_recovery_s']:.1f} s"
        )


if __name__ == "__main__":
    sys.exit(main())
