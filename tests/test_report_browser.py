"""The report in a real browser: it fits a phone and a desk, sorts, prints, and asks nothing of the network."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from matplotlib.figure import Figure

from nnbench.analysis.methods import Methods
from nnbench.analysis.rows import conditioned_rows
from nnbench.facts import find_facts
from nnbench.presentation.figures import Drawing
from nnbench.presentation.leaderboard import Cell, arrange
from nnbench.presentation.report import Content, render
from nnbench.presentation.tables.generation import table2
from nnbench.protocol import Protocol
from nnbench.tasks.policies.tracks import load_track
from nnbench.tasks.registry import TASKS

PAPER_TRACK = load_track("paper")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDTHS = (390, 1280)
SUCCESS = {"nnit": 90.0, "sane": 9.5, "ghn": 95.0, "nearest": 85.0}
"""On every task and split but one: the last method was not measured on the first column."""


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("needs chromium on the PATH")  # a browser is no part of the README's installation
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a page with a whole leaderboard, two pictures and the widest table."""
    cells = {
        (task, split, method): Cell(mean, mean - 2, mean + 2)
        for task in TASKS
        for split in ("seen", "unseen", "joint")
        for method, mean in SUCCESS.items()
    }
    del cells[next(iter(TASKS)), "seen", "nearest"]
    figure = Figure(figsize=(8, 2))
    figure.subplots().plot([0, 1])
    drawing, protocol, methods = Drawing("Figure 9", "what it shows", figure), Protocol(), Methods(find_facts())
    content = Content(
        protocol=protocol,
        methods=methods,
        leaderboard=arrange(cells, list(TASKS), methods),
        overview=drawing,
        tables=[table2(conditioned_rows({}, task, protocol.top, PAPER_TRACK), protocol, task) for task in TASKS],
        figures=[drawing],
        zoos=dict.fromkeys(TASKS),
    )
    path: Path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(content), "utf-8")
    return path.as_uri()


def _open(browser: "Browser", address: str, width: int = 1280, scripts: bool = True) -> "Page":
    page = browser.new_context(java_script_enabled=scripts, viewport={"width": width, "height": 800}).new_page()
    page.goto(address)
    return page


def _methods(page: "Page") -> list[str]:
    names = page.locator(".leaderboard tbody th").all_inner_texts()
    return [name.split("\n")[0] for name in names]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_asks_for_nothing_and_does_not_scroll_sideways(browser: "Browser", address: str, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800})
    asked, failures = list[str](), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: failures.append(message.text))
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(address)
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    page.wait_for_load_state("networkidle")
    assert {url.split(":")[0] for url in asked} <= {"file", "data"} and failures == []
    drawn = page.locator("img").evaluate_all("images => images.map(image => image.naturalWidth)")
    assert len(drawn) == 2 and min(drawn) > 0
    assert page.evaluate("document.documentElement.scrollWidth") == width
    names = page.locator(".leaderboard tbody th").first
    page.locator(".box").first.evaluate("box => box.scrollLeft = 1000")
    box = names.bounding_box()
    assert box is not None and 0 <= box["x"] < 60, "names stay where the table scrolls"


def test_the_first_screen_shows_the_leaders_beside_the_picture(browser: "Browser", address: str) -> None:
    page = _open(browser, address)
    for shown in (page.locator(".leaderboard tbody tr").last, page.locator(".first img"), page.get_by_text("Findings")):
        box = shown.first.bounding_box()
        assert box is not None and box["y"] < 800
    assert page.locator("details[open]").count() == 0


def test_a_click_on_a_header_sorts_and_another_turns_the_order(browser: "Browser", address: str) -> None:
    page = _open(browser, address)
    assert _methods(page) == ["ghn", "nnit", "nearest", "sane"]
    first, second = page.locator(".leaderboard .sorts").nth(2), page.locator(".leaderboard .sorts").nth(0)
    first.get_by_role("button").click()
    assert _methods(page) == ["ghn", "nnit", "sane", "nearest"], "a dash is last"
    assert first.get_attribute("aria-sort") == "descending" and page.locator("[aria-sort]").count() == 1
    first.get_by_role("button").click()
    assert _methods(page) == ["sane", "nnit", "ghn", "nearest"], "9.5 before 90, and a dash is still last"
    second.get_by_role("button").press("Enter")
    assert _methods(page) == sorted(SUCCESS) and second.get_attribute("aria-sort") == "ascending"


def test_without_scripts_the_leaderboard_is_there_and_sorted(browser: "Browser", address: str) -> None:
    page = _open(browser, address, scripts=False)
    assert _methods(page) == ["ghn", "nnit", "nearest", "sane"]
    assert page.locator(".leaderboard button").count() == 0 and page.locator(".clickable").is_hidden()
    page.locator("summary", has_text="Tables").click()
    assert page.get_by_text("Table 2: architecture-conditioned generation").first.is_visible()


def test_the_printed_page_opens_what_matters_and_cuts_nothing(browser: "Browser", address: str) -> None:
    page = _open(browser, address, width=718)  # A4 with the margins of a browser, in pixels
    page.emulate_media(media="print")
    board = page.locator(".leaderboard").bounding_box()
    assert board is not None and board["x"] + board["width"] <= 718 and board["height"] > 50
    table = page.get_by_text("Table 2: architecture-conditioned generation").first.bounding_box()
    assert table is not None and table["height"] > 0, "folded tables are printed"
    assert page.locator("summary", has_text="Provenance").is_hidden() and page.locator(".clickable").is_hidden()
    marked = page.locator(".best").first.evaluate("cell => getComputedStyle(cell).fontWeight")
    assert marked == "700", "the best are told without colour"
