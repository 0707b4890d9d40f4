"""The colours of the pages: every text stands out from its ground on light screens, on dark ones and on paper (WCAG 1.4.3)."""

from __future__ import annotations

import re

import pytest

from worker.reports.page import styles

#: Text and ground as the style sheets pair them.
PAIRS = [
    *((ink, ground) for ink in ("ink", "soft") for ground in ("paper", "tint")),
    ("warn", "warn-tint"),
    *(
        (word, f"{tone}-tint")
        for tone in ("detected", "undetected", "unsure", "failed", "open")
        for word in (tone, "ink", "soft")
    ),
    *(("ink", band) for band in ("low", "middle", "high", "line")),
]
LEAST, LEAST_SHAPE = 4.5, 3.0


def schemes() -> dict[str, dict[str, str]]:
    """The colours of each scheme: the later of two rules counts, and the dark ones and those of paper lie over the light ones."""
    text = re.sub(r"/\*.*?\*/", "", styles(), flags=re.DOTALL)
    blocks: dict[str, dict[str, str]] = {"light": {}, "dark": {}, "print": {}}
    for found in re.finditer(r":root \{([^}]*)\}", text):
        before = text[: found.start()]
        # An at-rule is open where more braces were opened than closed.
        is_within = before.count("{") > before.count("}")
        rule = before.rpartition("@media")[2] if is_within else ""
        scheme = "dark" if "dark" in rule else "print" if "print" in rule else "light"
        blocks[scheme] |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", found[1]))
    light = blocks["light"]
    return {"light": light, "dark": light | blocks["dark"], "print": light | blocks["dark"] | blocks["print"]}


SCHEMES = schemes()


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2) of #rgb or #rrggbb."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[start : start + 2], 16) / 255 for start in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio (WCAG 2.2), from 1 to 21."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_ratio_is_that_of_the_standard() -> None:
    assert contrast("#fff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("pair", PAIRS, ids="-on-".join)
def test_text_stands_out(scheme: str, pair: tuple[str, str]) -> None:
    ink, ground = (SCHEMES[scheme][name] for name in pair)
    assert contrast(ink, ground) >= LEAST, (ink, ground)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("bar", ["normal", "pneumonia", "mark"])
def test_bars_stand_out(scheme: str, bar: str) -> None:
    assert contrast(SCHEMES[scheme][bar], SCHEMES[scheme]["paper"]) >= LEAST_SHAPE


def test_paper_is_light_whatever_the_screen_was() -> None:
    assert SCHEMES["print"] == SCHEMES["light"]
    assert SCHEMES["dark"]["paper"] != SCHEMES["light"]["paper"]
