"""System calls of a program under strace, in the order they ended."""

from __future__ import annotations

import re


def whole_calls(trace: str) -> list[str]:
    """The calls of a trace (`strace -f -y`); one that strace wrote in two pieces stands where it ended."""
    begun: dict[str, str] = {}
    calls = []
    for line in trace.splitlines():
        # strace pads the process id with blanks as well.
        pid, call = line.split(maxsplit=1)
        if call.rstrip().endswith("<unfinished ...>"):
            begun[pid] = call.rstrip().removesuffix("<unfinished ...>").rstrip()
            continue
        if resumed := re.match(r"\s*<\.\.\. \w+ resumed>", call):
            call = begun.pop(pid, "") + call[resumed.end() :]
        # strace pads short calls with blanks before the result.
        calls.append(re.sub(r"\)\s+=", ") =", call))
    return calls
