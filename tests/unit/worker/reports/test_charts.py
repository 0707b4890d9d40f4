"""The charts of the pages: where things lie, and that no word leaves the picture."""

from __future__ import annotations

import re

import pytest

from dicom_io.results.result import as_written
from tests.support.pages import read_page
from worker.reports.charts import bands_in_words, histogram, score_scale, share_bar


def places(drawn: str) -> dict[str, tuple[float, str]]:
    """The words of a chart, with x and anchor."""
    found = re.findall(r'<text x="([\d.-]+)" y="[\d.-]+" text-anchor="(\w+)"[^>]*>([^<]*)<', drawn)
    return {words: (float(x), anchor) for x, anchor, words in found}


@pytest.mark.parametrize("probability", [0.0, 0.0004, 0.013, 0.5, 0.9321, 1.0])
@pytest.mark.parametrize("threshold", [0.01, 0.5, 0.99])
def test_the_words_of_a_scale_stay_within_it(probability: float, threshold: float) -> None:
    drawn = str(score_scale(probability, threshold, (0.02, 0.99)))
    width = float(re.findall(r'viewBox="0 0 (\d+)', drawn)[0])
    for words, (x, anchor) in places(drawn).items():
        # Of the largest letters: "above 0.999" is 170 px wide in a wide font.
        wide = 15.5 * len(words) if words == as_written(probability) else 8 * len(words)
        left = {"start": 0, "middle": wide / 2, "end": wide}[anchor]
        assert x - left >= 0, words
        assert x - left + wide <= width, words
    assert f"PNEUMONIA from {threshold:.3f}" in places(drawn)
    read_page(drawn)


def test_a_scale_never_claims_certainty() -> None:
    assert "below 0.001" in places(str(score_scale(0.0, 0.5, None)))
    assert "above 0.999" in places(str(score_scale(1.0, 0.5, None)))


def test_the_bands_are_drawn_in_order_and_a_band_without_room_has_no_name() -> None:
    drawn = str(score_scale(0.7, 0.5, (0.02, 0.6)))
    rects = re.findall(r'<rect x="([\d.]+)" y="44" width="([\d.]+)" height="20" class="(\w+)"', drawn)
    assert [class_ for _, _, class_ in rects] == ["low", "middle", "high"]
    ends = [(float(x), float(x) + float(width)) for x, width, _ in rects]
    assert ends[0][1] == pytest.approx(ends[1][0], abs=0.02)
    assert ends[1][1] == pytest.approx(ends[2][0], abs=0.02)
    assert "LOW" not in places(drawn)
    assert {"INTERMEDIATE", "HIGH"} <= set(places(drawn))
    # The line of the threshold does not cross the name.
    assert abs(places(drawn)["INTERMEDIATE"][0] - 360) > 45
    assert bands_in_words((0.02, 0.6)) == "Bands: LOW below 0.020, INTERMEDIATE from 0.020, HIGH from 0.600 on."


def test_a_model_without_bands_has_a_plain_scale() -> None:
    drawn = str(score_scale(0.7, 0.5, None))
    assert drawn.count("<rect") == 1
    assert "INTERMEDIATE" not in drawn


@pytest.mark.parametrize(("most", "top"), [(1, 4), (4, 4), (5, 8), (37, 40), (41, 80), (81, 200), (1234, 2000)])
def test_the_axis_of_a_histogram_has_whole_steps(most: int, top: int) -> None:
    drawn = str(histogram([(most, 0), (0, 1)], [0.5]))
    labels = places(drawn)
    assert {f"{top * step // 4}" for step in range(5)} <= set(labels)
    assert f"Distribution of the scores of {most + 1} studies" in drawn


def test_bars_of_a_histogram_are_as_high_as_their_counts() -> None:
    drawn = str(histogram([(2, 1), (0, 4)], []))
    heights = [float(height) for height in re.findall(r'height="([\d.]+)" class="(?:normal|pneumonia)"', drawn)]
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.02)
    assert heights[2] == pytest.approx(4 * heights[1], abs=0.02)


def test_a_bar_of_a_share_is_hidden_from_screen_readers_as_its_number_stands_beside_it() -> None:
    assert 'aria-hidden="true"' in share_bar(0.4)
    assert 'width="44"' in share_bar(0.4)
