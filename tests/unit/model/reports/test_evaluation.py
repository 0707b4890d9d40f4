from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from model.evaluation.assessment import assess
from model.evaluation.compare import compare
from model.labels import Band, Label
from model.reports.comparison import render_comparison
from model.reports.evaluation import render_report
from model.reports.svg import tag
from tests.support.helpers_bundle import shipped_bundle
from tests.support.scored import PROVENANCE, Elements, answered, grey_film, some_films

NOTICE = "Not a medical device. Not for diagnosis."
SCRIPT = "<script>alert(1)</script>\"'&.jpeg"


def films_with_scripts():
    """Films, some of them out of scope and some wrong, in whose every word a script hides."""
    further: dict[str, Any] = {"kind": SCRIPT, "subgroups": ((SCRIPT, SCRIPT),), "band": Band.HIGH}
    return [
        *some_films(20, 8, unlikeness=0.2),
        answered(f"a{SCRIPT}", Label.NORMAL, 0.9, unlikeness=3.0, **further),
        answered(f"b{SCRIPT}", Label.PNEUMONIA, 0.1, unlikeness=0.1, **further),
    ]


@pytest.fixture(scope="module")
def report() -> str:
    provenance = replace(PROVENANCE, command=f"auscult {SCRIPT}", program=SCRIPT)
    return render_report(assess(shipped_bundle(), films_with_scripts(), replicates=60), provenance, grey_film)


@pytest.fixture(scope="module")
def comparison() -> str:
    first = films_with_scripts()
    second = [
        replace(film, score=other.score) for film, other in zip(first, reversed(films_with_scripts()), strict=True)
    ]
    bundle = shipped_bundle()
    provenance = replace(PROVENANCE, command=f"auscult {SCRIPT}")
    return render_comparison(compare((bundle, bundle), (first, second), replicates=60), provenance, grey_film)


@pytest.fixture(params=["report", "comparison"])
def rendered(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


def test_every_element_that_opens_is_closed(rendered):
    assert Elements(rendered).open == []


def test_what_a_file_is_called_stays_text(rendered):
    found = Elements(rendered)
    assert "script" not in {name for name, _ in found.elements}
    assert not [key for _, attributes in found.elements for key in attributes if key.startswith("on")]
    assert SCRIPT in found.text


def test_the_page_refers_to_nothing_outside_itself(rendered):
    found = Elements(rendered)
    for name, attributes in found.elements:
        assert name not in {"link", "iframe", "object", "embed", "form", "a", "base"}
        for key in ("src", "href", "action", "data", "srcset"):
            assert (attributes.get(key) or "data:image/png;base64,").startswith("data:image/png;base64,")
        assert "url(" not in (attributes.get("style") or "")
    assert "url(" not in rendered
    assert "@import" not in rendered
    assert not re.search(r"https?://", rendered)


def test_a_policy_keeps_scripts_and_foreign_resources_out(rendered):
    (policy,) = (
        attributes["content"] for name, attributes in Elements(rendered).elements if attributes.get("http-equiv")
    )
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_the_page_says_what_it_is_not_for_and_where_it_comes_from(rendered):
    text = Elements(rendered).text
    assert text.count(NOTICE) == 2
    assert f"auscult {SCRIPT}" in text
    bundle = shipped_bundle()
    for fact in ("notebook-1", bundle.digest, bundle.weights_sha256, "/films", "2026-11-23 01:00 UTC"):
        assert fact in text


def test_the_page_can_be_read_on_light_and_dark_screens(rendered):
    assert "prefers-color-scheme: dark" in rendered
    assert not re.search(r'(fill|stroke)="#', rendered)


def test_every_sort_of_picture_is_drawn(report):
    drawn = {attributes.get("aria-label") for name, attributes in Elements(report).elements if name == "svg"}
    assert drawn >= {
        "ROC curve",
        "Precision and recall",
        "Reliability diagram",
        "Histogram of the scores",
        "Confusion matrix",
    }


def test_wrong_films_are_shown_and_right_ones_are_not(report):
    films = films_with_scripts()
    wrong = sum(not film.is_right for film in films)
    assert 2 < wrong <= 12
    assert sum(name == "img" for name, _ in Elements(report).elements) == wrong


def test_each_headline_figure_has_its_interval_and_its_number_of_films(report):
    text = Elements(report).text
    found = assess(shipped_bundle(), films_with_scripts(), replicates=60)
    for name in ("accuracy", "sensitivity", "specificity"):
        figure = found.figures[name]
        assert figure.by_patient is not None
        low, high = figure.by_patient
        assert f"95 % interval {100 * low:.1f} to {100 * high:.1f} %" in text
        assert f"{round(figure.value * figure.n)} of {figure.n} films" in text


def test_films_out_of_scope_are_listed_with_their_unlikeness(report):
    text = Elements(report).text
    assert "1 of 22 films are too unlike the training films" in text
    assert "3.00" in text


def test_a_report_without_errors_scope_or_bands_is_whole_too():
    films = [answered(str(number), label, 0.1 + 0.8 * label.target) for label in Label for number in range(5)]
    text = Elements(render_report(assess(shipped_bundle(), films, replicates=50), PROVENANCE, grey_film)).text
    assert "This network cannot tell how unlike its training films a film is." in text
    assert text.count("None.") == 2
    assert "Band of the probability" not in text


def test_a_film_that_was_never_called_pneumonia_draws_no_dot_on_precision():
    films = [answered(str(number), label, 0.1 + 0.01 * number) for label in Label for number in range(5)]
    found = Elements(render_report(assess(shipped_bundle(), films, replicates=50), PROVENANCE, grey_film))
    assert found.open == []
    assert "0 of 5 films" in found.text


def test_text_is_escaped_in_the_elements_of_a_chart_and_markup_is_not():
    assert Elements(tag("p", "<b>", title='"><i>')).elements == [("p", {"title": '"><i>'})]
    assert Elements(tag("p", tag("b", "x"))).elements == [("p", {}), ("b", {})]
