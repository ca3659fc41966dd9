"""The page in a real browser: Debian's Chromium, headless, through its own driver.

Without them these tests are skipped, with the reason shown; `.ci/run` installs them and sets SEARCHER_TEST_BROWSER,
with which a missing browser is a failure.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sample_sweep import HOSTILE, demo_records, sample, store
from selenium.webdriver import ActionChains, Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from searcher.report import write_report

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,1000",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        why = "needs Debian's packages chromium and chromium-driver"
        if os.environ.get("SEARCHER_TEST_BROWSER"):
            pytest.fail(why)
        pytest.skip(why)
    options = ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = Chrome(options=options, service=Service(driver))
    yield chrome
    chrome.quit()


@pytest.fixture(scope="module")
def page(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report("demo", str(demo), tmp_path_factory.mktemp("report")).page


@pytest.fixture
def opened(browser: Chrome, page: Path) -> Chrome:
    browser.get(page.as_uri())
    drawn(browser)
    return browser


def drawn(browser: Chrome) -> int:
    """Waits until all charts are drawn; their number."""
    html = browser.find_element(By.TAG_NAME, "html")
    return int(WebDriverWait(browser, 30).until(lambda _: html.get_attribute("data-drawn")))


def test_draws_every_chart_and_asks_nothing_of_a_network(browser: Chrome, page: Path) -> None:
    browser.get_log("performance"), browser.get_log("browser")
    browser.get(page.as_uri())
    assert drawn(browser) == 7
    charts = browser.find_elements(By.CSS_SELECTOR, ".chart svg")
    assert len(charts) == 7
    for chart in charts:
        assert chart.size["width"] > 500
        assert chart.find_elements(By.CSS_SELECTOR, "g.mark-symbol path, g.mark-line path, g.mark-rule line")
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert asked
    assert {url.partition(":")[0] for url in asked} <= {"file", "data", "blob"}


def test_text_of_the_user_stays_text(opened: Chrome) -> None:
    assert opened.title == "demo: hyper-parameter search"
    assert opened.find_elements(By.CSS_SELECTOR, "img, main b") == []
    texts = opened.execute_script("return [...document.querySelectorAll('td, dd')].map((one) => one.textContent)")
    assert HOSTILE in texts
    assert "a machine <of> ours" in texts


def test_a_stopped_run_tells_its_reason(opened: Chrome) -> None:
    chart = opened.find_element(By.ID, "chart-learning-curves")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", chart)
    # The last layer of the first panel: where runs ended that were not completed.
    marks = chart.find_elements(By.CSS_SELECTOR, "g.mark-symbol.role-mark path")
    stopped = next(mark for mark in marks if "stopped_overfit" in (mark.get_attribute("aria-label") or ""))
    ActionChains(opened).move_to_element(stopped).perform()
    tooltip = WebDriverWait(opened, 10).until(
        lambda _: opened.find_element(By.CSS_SELECTOR, "#vg-tooltip-element.visible")
    )
    assert "onerror" in tooltip.text
    assert tooltip.find_elements(By.TAG_NAME, "img") == []
    assert opened.title == "demo: hyper-parameter search"


def test_the_legend_picks_out_a_status(opened: Chrome) -> None:
    chart = opened.find_element(By.ID, "chart-learning-curves")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", chart)

    def faint() -> int:
        lines = chart.find_elements(By.CSS_SELECTOR, "g.mark-line path")
        return sum(float(line.get_attribute("stroke-opacity") or 1) < 0.1 for line in lines)

    assert faint() == 0
    label = next(text for text in chart.find_elements(By.CSS_SELECTOR, "text") if text.text == "diverged")
    ActionChains(opened).move_to_element(label).click().perform()
    WebDriverWait(opened, 10).until(lambda _: faint() > 0)


def test_a_heading_sorts_the_trials(opened: Chrome) -> None:
    table = opened.find_element(By.CSS_SELECTOR, "table.sortable")
    headings = table.find_elements(By.CSS_SELECTOR, "thead th")
    names = [heading.get_attribute("textContent") for heading in headings]
    column = names.index("samples")

    def samples() -> list[int]:
        cells = table.find_elements(By.CSS_SELECTOR, f"tbody tr > :nth-child({column + 1})")
        return [int(str(cell.get_attribute("textContent")).replace(",", "")) for cell in cells]

    button = headings[column].find_element(By.TAG_NAME, "button")
    for order, falling in (("ascending", False), ("descending", True)):
        opened.execute_script("arguments[0].click()", button)
        assert headings[column].get_attribute("aria-sort") == order
        assert samples() == sorted(samples(), reverse=falling)
        assert len(samples()) == 16


def test_reads_well_with_a_screen_reader(opened: Chrome) -> None:
    tree = opened.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    nodes = [(role(node), name(node), node) for node in tree if not node.get("ignored")]
    levels = [level(node) for kind, _, node in nodes if kind == "heading"]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    images = [label for kind, label, _ in nodes if kind == "image"]
    assert len(images) == 7
    assert all(len(label) > 80 for label in images)
    tables = [label for kind, label, _ in nodes if kind == "table"]
    assert tables
    assert all(tables)
    assert [kind for kind, _, _ in nodes].count("main") == 1
    # Behind every chart stands a table.
    assert len(opened.find_elements(By.CSS_SELECTOR, "figure details table tbody tr:first-child")) == 7


def test_prints_with_the_tables_opened(opened: Chrome) -> None:
    opened.execute_script("dispatchEvent(new Event('beforeprint'))")
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert not opened.find_element(By.TAG_NAME, "nav").is_displayed()
        assert len(opened.find_elements(By.CSS_SELECTOR, "details[open] table")) == 7
        for box in opened.find_elements(By.CSS_SELECTOR, ".scroll"):
            assert box.value_of_css_property("overflow-y") == "visible"
        # A column is never so narrow that a word breaks into letters, one below the other.
        tallest = "Math.max(...[...document.querySelectorAll('tr')].map((row) => row.offsetHeight))"
        assert opened.execute_script(f"return {tallest}") < 120
    finally:
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
        opened.execute_script("dispatchEvent(new Event('afterprint'))")
    assert base64.b64decode(opened.print_page()).startswith(b"%PDF")


def test_the_words_of_a_chart_can_be_read_on_a_narrow_screen(opened: Chrome) -> None:
    narrow = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrow)
    try:
        assert opened.execute_script("return document.documentElement.scrollWidth") <= 390
        for chart in opened.find_elements(By.CSS_SELECTOR, ".chart svg"):
            assert chart.size["width"] > 600
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_large_sweep_gives_a_page_that_can_be_used(browser: Chrome, tmp_path: Path) -> None:
    rates = tuple(round(1e-3 * 1.02**index, 6) for index in range(255))  # x 2 decays x 2 seeds: 1,020 runs
    sweep = sample("large", rates)
    store(tmp_path / "results", sweep, demo_records(sweep, epochs=100))
    written = write_report("large", str(tmp_path / "results"), tmp_path / "report")
    assert written.page.stat().st_size < 6_000_000
    browser.get(written.page.as_uri())
    assert drawn(browser) == 7
    notes = [note.text for note in browser.find_elements(By.CSS_SELECTOR, "#curves .note")]
    assert any(note.startswith("1,000 of 1,021 runs are drawn") for note in notes), notes
    assert any("epochs of these runs are drawn" in note for note in notes), notes
    assert len(browser.find_elements(By.CSS_SELECTOR, "table.sortable tbody tr")) == 1_024


def role(node: dict[str, Any]) -> str:
    return str(node.get("role", {}).get("value", ""))


def name(node: dict[str, Any]) -> str:
    return str(node.get("name", {}).get("value", ""))


def level(node: dict[str, Any]) -> int:
    return int(next(one["value"]["value"] for one in node["properties"] if one["name"] == "level"))
