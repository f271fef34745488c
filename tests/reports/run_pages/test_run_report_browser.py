"""The pages of runs and of a sweep in a headless Chromium: skipped where there is none."""

import pytest

from hierarchy_lm.cli import main

LONG = "a-run-with-a-very-long-name-that-no-phone-can-show-on-one-line-" * 2


@pytest.fixture
def pages(tmp_path, run, sweep, curves, dataset):
    """The pages of three runs and of a grid with eight columns."""
    levels = {f"val/micro_f1_L{level}": 0.9 - level / 10 for level in range(1, 6)}
    names = ("one", "two<b>", LONG)
    folders = [
        run(
            f"{name}/version_0",
            seed=seed,
            rows=curves(500, 5.0, seed),
            metrics={"val/micro_f1": 0.7, **levels},
            options={"lr": seed / 7, "pretrained": "/a/long/path" * 10},
            dataset=dataset,
            items=[("item", [0, 2], [0, 3])] if not seed else None,
            levels="[0,2,6]",
        )
        for seed, name in enumerate(names)
    ]
    plan = [
        ((a, b), seed, "failed" if a == 3 else {"test/micro_f1": a / 10 + b / 100 + seed / 1000})
        for a in range(5) for b in range(8) for seed in (0, 1)
    ]  # fmt: skip
    parameters = {"model.rate": list(range(5)), "model.width": list(range(8))}
    grid = sweep(parameters, plan, rows=curves(60, 5.0))
    assert main(["report", *map(str, folders), "--output", str(tmp_path / "runs-out")]) == 0
    assert main(["report", str(grid), "--output", str(tmp_path / "sweep-out")]) == 0
    return {name: tmp_path / f"{name}-out" / "report.html" for name in ("runs", "sweep")}


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_pages_fit_the_window_and_ask_for_nothing(browser, pages, width, dark):
    for page in pages.values():
        browser.open(page, width, dark)
        assert browser.ask("document.documentElement.scrollWidth") <= width
        cut = "[...document.querySelectorAll('section > *, figure > *')].filter("
        over = "e => e.scrollWidth > e.clientWidth && getComputedStyle(e).overflowX == 'visible')"
        assert browser.ask(f"{cut}{over}.length") == 0
        outside = browser.ask(
            "[...document.querySelectorAll('figure svg[role=img] text')].filter(text => {"
            "const box = text.getBoundingClientRect(), all = text.ownerSVGElement"
            ".getBoundingClientRect(); return box.left < all.left - 1 || box.right > all.right + 1"
            "|| box.bottom > all.bottom + 1 || box.top < all.top - 1}).map(t => t.textContent)"
        )
        assert outside == []
        assert browser.complaints() == []
        assert browser.requests() == [page.as_uri()]


def test_curves_are_told_apart_and_cells_are_coloured(browser, pages):
    browser.open(pages["runs"])
    strokes = browser.ask(
        "[...document.querySelectorAll('#training-curves-train-loss path.series')]"
        ".map(path => getComputedStyle(path).stroke)"
    )
    assert len(set(strokes)) == len(strokes) == 3
    assert "none" not in strokes
    browser.open(pages["sweep"])
    shades = browser.ask(
        "[...document.querySelectorAll('#grid-test-micro-f1 rect.heat')]"
        ".map(cell => [getComputedStyle(cell).fill, cell.getAttribute('fill-opacity')].join())"
    )
    assert len(shades) == 32
    assert len(set(shades)) > 20
    assert browser.ask("document.querySelectorAll('#grid-test-micro-f1 [fill^=url]').length") == 8


def test_printing_opens_the_folded_tables(browser, pages):
    browser.open(pages["sweep"])
    opened = "[...document.querySelectorAll('details')].filter(one => one.open).length"
    assert browser.ask(opened) == 0
    browser.ask("window.dispatchEvent(new Event('beforeprint'))")
    assert browser.ask(opened) == browser.ask("document.querySelectorAll('details').length") > 1
