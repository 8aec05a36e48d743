"""The report in a real browser, without a network: the distribution's Chromium, driven by playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.reporting.made import HOSTILE, report_data, space_map, store_facts, written

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
# the text of an element and of the shadow trees below it, in which Bokeh draws
TEXT = """function text(node) {
    const below = [...node.childNodes, ...(node.shadowRoot ? node.shadowRoot.childNodes : [])];
    return node.nodeType === Node.TEXT_NODE ? node.textContent : below.map(text).join(" ");
}"""
IDS = [f"sp|P{n:05d}|NAME" for n in range(40)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (protea-ray[dev])")
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on PATH (apt-get install chromium-headless-shell)")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@contextmanager
def opened(browser: Any, path: Path, **options: Any) -> Iterator[Any]:
    """The page, drawn; at the end no error was logged and nothing but the file was asked for."""
    context = browser.new_context(offline=True, **options)
    page = context.new_page()
    errors: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_function("document.body.dataset.ready")
    yield page
    assert page.evaluate("document.body.dataset.ready") == "true"
    assert errors == []
    assert [url for url in asked if not url.startswith(("blob:", "data:"))] == [path.as_uri()]
    context.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("report"), report_data(space_map(IDS)))


def place_of(page: Any, point: int) -> tuple[float, float]:
    """Where a point of the map is in the window, in pixels."""
    x, y = page.evaluate(
        """(i) => {
            const plot = protea.plot, view = Bokeh.index.find_one_by_id ? Bokeh.index.find_one_by_id(plot.id) : null;
            const dots = plot.renderers.find((r) => r.name === "map-dots").data_source.data;
            const inner = view.frame, box = view.el.getBoundingClientRect();
            return [box.left + inner.x_scale.compute(dots.x[i]), box.top + inner.y_scale.compute(dots.y[i])];
        }""",
        point,
    )
    return x, y


def colours(page: Any) -> list[str]:
    return page.evaluate("[...protea.plot.renderers.find((r) => r.name === 'map-dots').data_source.data.colour]")


def test_a_click_shows_the_neighbours_and_a_hover_the_id(browser: Any, report: Path) -> None:
    with opened(browser, report, viewport={"width": 1200, "height": 900}) as page:
        page.locator("#chart-map").scroll_into_view_if_needed()
        x, y = place_of(page, 5)
        page.mouse.move(x - 1, y)
        page.mouse.move(x, y)
        page.wait_for_function(f"({TEXT})(document.body).includes('{IDS[5]}')")
        page.mouse.click(x, y)
        page.wait_for_function("document.body.dataset.mapShown === '5'")
        rows = page.locator("#neighbours-rows tr")
        assert page.locator("#neighbours-title").inner_text() == IDS[5]
        assert [rows.nth(i).locator("button").inner_text() for i in range(3)] == [IDS[6], IDS[7], IDS[8]]
        assert [rows.nth(i).locator("td").nth(2).inner_text() for i in range(3)] == ["0.9000", "0.8000", "0.7000"]


def test_an_id_is_found_and_its_neighbours_can_be_followed_and_left(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        page.fill("#map-query", "p00012")
        page.press("#map-query", "Enter")
        assert page.locator("#neighbours-title").inner_text() == IDS[12]
        page.locator("#neighbours-rows button").first.press("Enter")
        assert page.locator("#neighbours-title").inner_text() == IDS[13]
        page.click("#neighbours-back")
        assert page.locator("#neighbours-title").inner_text() == IDS[12]
        page.fill("#map-query", "not there")
        page.press("#map-query", "Enter")
        assert "not there" in page.locator("#map-found").inner_text()


def test_colours_follow_the_chosen_column(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        by_family = colours(page)
        assert len(set(by_family)) == 2 and by_family[0] == by_family[2] != by_family[1]
        page.select_option("#map-colour", label="length")
        page.wait_for_function("document.body.dataset.mapColour === 'length'")
        by_length = colours(page)
        assert len(set(by_length)) == len(IDS)
        assert all(contrast(dot, ground) >= 3 for dot in by_length for ground in ("#ffffff", "#16191f"))
        assert "length" in page.locator("#map-legend").inner_text()


def test_dark_by_the_system_and_by_the_button(browser: Any, report: Path) -> None:
    background = "getComputedStyle(document.documentElement).backgroundColor"
    label = "Bokeh.documents.flatMap((d) => d.roots())[0].below[0].major_label_text_color"
    with opened(browser, report, color_scheme="light") as page:
        light, ink = page.evaluate(background), page.evaluate(label)
        page.click("#theme")
        assert page.evaluate(background) != light
        assert page.evaluate(label) != ink
        chosen = page.evaluate(background)
    with opened(browser, report, color_scheme="dark") as page:
        assert page.evaluate(background) == chosen


@pytest.mark.parametrize("width", [320, 390, 768])
def test_nothing_is_wider_than_the_window(browser: Any, report: Path, width: int) -> None:
    with opened(browser, report, viewport={"width": width, "height": 800}) as page:
        page.evaluate("document.querySelectorAll('details').forEach((d) => d.open = true)")
        page.evaluate("protea.show(3)")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_keyboard_reaches_search_colour_and_neighbours(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        page.evaluate("protea.show(3)")
        reached: list[str] = []
        for _ in range(80):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
        assert {"theme", "map-colour", "map-query", IDS[4]} <= set(reached)
        assert reached[0] == "Skip to the content"


def test_text_stands_out_from_its_background_in_both_themes(browser: Any, report: Path) -> None:
    for scheme in ("light", "dark"):
        with opened(browser, report, color_scheme=scheme) as page:
            names = ["--page", "--panel", "--ink", "--soft", "--accent"]
            found = page.evaluate(
                "(names) => names.map((n) => getComputedStyle(document.documentElement).getPropertyValue(n).trim())",
                names,
            )
            page_colour, panel, *inks = found
            assert all(contrast(ink, ground) >= 4.5 for ink in inks for ground in (page_colour, panel))


def contrast(one: str, other: str) -> float:
    """WCAG's ratio of two colours #rrggbb."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_hostile_texts_are_shown_as_text(browser: Any, tmp_path: Path) -> None:
    ids = [*HOSTILE, *(f"p{n}" for n in range(4))]
    path = written(tmp_path, report_data(space_map(ids, ["<b>bold</b>" * 100_000] * len(ids))))
    with opened(browser, path) as page:
        page.evaluate("protea.show(0)")
        assert page.locator("#neighbours-title").inner_text() == HOSTILE[0]
        assert HOSTILE[1] in page.locator("#neighbours-rows").inner_text()
        assert page.locator("#neighbours b, img").count() == 0
        assert "taken" not in page.title()


@pytest.mark.parametrize("points", [0, 1, 2])
def test_stores_of_hardly_anything_open(browser: Any, tmp_path: Path, points: int) -> None:
    shown = space_map([f"p{n}" for n in range(points)]) if points else None
    path = written(tmp_path, report_data(shown, store_facts(proteins=points, runs=(), rejects=(), lengths=())))
    with opened(browser, path) as page:
        assert page.locator("h1").inner_text() == "store"
        if points:
            page.evaluate("protea.show(0)")
            assert page.locator("#neighbours-title").inner_text() == "p0"
