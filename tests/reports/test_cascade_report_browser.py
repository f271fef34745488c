"""The report in a headless Chromium: skipped where there is none."""

import re

import numpy as np
import pytest

from hierarchy_lm.cli import main


def outputs(browser):
    names = ("threshold", "accuracy", "coverage", "left", "baseline")
    return [browser.ask(f"document.getElementById('out-{name}').textContent") for name in names]


def test_slider_moves_numbers_and_marker(browser, page, read_rows):
    """With the keyboard, as a person would; every figure against the rows of the evaluation."""
    table = read_rows(page.parents[1] / "dhpc" / "evaluation" / "test")
    right, weight = table["leaf"] == table["gold"], table["weight"]
    browser.open(page)
    before = outputs(browser)
    assert before[0] == "0.6200"  # the calibrated threshold
    browser.ask("document.getElementById('threshold').focus()")
    seen = []
    for key in ["ArrowRight"] * 3 + ["ArrowLeft"] * 40 + ["Home", "End"]:
        browser.press(key)
        seen.append(outputs(browser))
        marker = float(browser.ask("document.getElementById('marker').getAttribute('cx')"))
        threshold, accuracy, coverage, left, _ = seen[-1]
        assert marker == pytest.approx(46 + 364 * float(coverage), abs=0.1)
        at = browser.ask("JSON.parse(data.textContent).steps[threshold.value][0]")
        accepted = table["confidence"] >= at
        assert f"{at:.4f}" == threshold or at > 0.999
        assert int(left) == (~accepted).sum()
        assert float(coverage) == pytest.approx(weight[accepted].sum() / weight.sum(), abs=6e-5)
        told = np.average(right[accepted], weights=weight[accepted])
        assert float(accuracy) == pytest.approx(told, abs=6e-5)
    assert len({tuple(one) for one in seen}) > 40
    assert seen[-2][3] == "0"  # at the lowest threshold nothing is left
    assert "items left to people" in (
        browser.ask("document.getElementById('threshold').getAttribute('aria-valuetext')")
    )
    browser.ask("[...document.querySelectorAll('button')][0].click()")
    assert outputs(browser) == before
    assert browser.complaints() == []


def test_numbers_are_the_same_before_and_after_the_script(browser, page):
    written = dict(re.findall(r'id="out-(\w+)">([^<]*)<', page.read_text(encoding="utf-8")))
    browser.open(page)
    assert outputs(browser) == list(written.values())


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("dark", [False, True])
def test_page_fits_the_window_and_asks_for_nothing(browser, page, width, dark):
    browser.open(page, width, dark)
    assert browser.ask("document.documentElement.scrollWidth") <= width
    cut = "[...document.querySelectorAll('section > *')].filter(e => e.scrollWidth > e.clientWidth"
    assert browser.ask(f"{cut} && getComputedStyle(e).overflowX == 'visible').length") == 0
    colour = browser.ask("getComputedStyle(document.body).backgroundColor")
    assert colour == ("rgb(18, 23, 29)" if dark else "rgb(255, 255, 255)")
    assert browser.complaints() == []
    assert browser.requests() == [page.as_uri()]


def test_page_without_a_slider_has_no_console_error(browser, tmp_path, write_cascade, shop):
    items = shop.rows(30, 3, 1.0)
    items["leaf"][:] = -1
    folder = write_cascade(tmp_path / "c", shop.tree, items)
    main(["report", str(folder)])
    browser.open(folder / "evaluation/test/report.html")
    assert browser.ask("document.querySelectorAll('h2').length") == 9
    assert browser.complaints() == []


def test_browser_would_hear_a_complaint(browser, tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text("<script>missing()</script>")
    browser.open(broken)
    assert len(browser.complaints()) == 1
