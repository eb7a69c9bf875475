"""The site as it is built: without a warning, asking no network for anything, found by its search, readable on a phone.

Independent of the code: pages are read as a browser gets them, and in one.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from pages import DOCS

pytestmark = pytest.mark.slow
WIDTHS = (390, 1280)
# Pictures, tables and code whose right edge lies outside the window, and that nothing around them scrolls.
CUT = """() => Array.from(document.querySelectorAll(".md-content img, .md-content table, .md-content pre")).filter(each => {
    const box = each.closest(".md-typeset__scrollwrap") ?? each
    return box.getBoundingClientRect().right > innerWidth + 1
}).length"""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built once, strictly."""
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # an advertisement
    done = subprocess.run(build, cwd=DOCS.parent, capture_output=True, text=True, timeout=600, check=False, env=quiet)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


class Loaded(HTMLParser):
    """What a page loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = {"script": "src", "img": "src", "iframe": "src", "source": "src"}.get(tag, "")
        if tag == "link" and given.get("rel") not in ("canonical", "prev", "next"):
            name = "href"
        if address := given.get(name):
            self.found.append(address)


def test_the_reference_is_filled(site: Path) -> None:
    assert "HessianOperator" in (site / "reference/curvature.html").read_text(encoding="utf-8")


def test_no_page_asks_another_machine_for_anything(site: Path) -> None:
    for page in site.rglob("*.html"):
        reader = Loaded()
        reader.feed(page.read_text(encoding="utf-8"))
        assert len(reader.found) > 3  # its own scripts and styles
        assert not [address for address in reader.found if re.match(r"(?:\w+:)?//", address)], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(?:https?:)?//|@import", sheet.read_text(encoding="utf-8")), sheet


def test_the_search_knows_every_page(site: Path) -> None:
    index = json.loads((site / "search/search_index.json").read_text(encoding="utf-8"))
    known = {entry["location"].partition("#")[0] for entry in index["docs"]}
    pages = {page.relative_to(DOCS).with_suffix(".html").as_posix() for page in DOCS.rglob("*.md")}
    assert pages - known == {"reference/all.html"}  # everything in it stands on a page of its own


Open = Callable[..., Any]


@pytest.fixture
def opened(browser: Any, site: Path) -> Open:
    """A page read from the disk, and what went wrong on it."""
    complaints: list[str] = []

    def go(name: str, width: int = 1280, scheme: str = "light") -> Any:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.append(request.url) if request.url.startswith("http") else None)
        page.goto((site / name).as_uri())
        page.wait_for_selector("html.js")
        return page

    yield go
    assert not complaints


@pytest.mark.browser
@pytest.mark.parametrize(
    ("words", "pages"),
    [
        ("barrier", {"how-to/path.html", "how-to/connect.html", "reference/connectivity.html", "choose.html", "limits.html"}),
        ("own model", {"how-to/my-model.html", "own-network.html", "how-to/my-experiment.html"}),
        ("frozen", {"sweep.html", "how-to/anchor-sweeps.html", "choose.html"}),
        ("dark", {"gallery.html", "report.html"}),
    ],
)
def test_the_search_finds_what_one_looks_for(opened: Open, words: str, pages: set[str]) -> None:
    page = opened("index.html")
    page.locator("input.md-search__input").click()
    page.locator("input.md-search__input").press_sequentially(words)
    page.locator(".md-search-result__item").first.wait_for()
    first = page.locator(".md-search-result__item > a").evaluate_all("links => links.map(link => link.href)")[:5]
    assert [address for address in first if any(f"/{name}" in address for name in pages)], first


@pytest.mark.browser
def test_the_theme_is_the_systems_and_can_be_switched(opened: Open) -> None:
    for scheme, own, other in (("light", "default", "slate"), ("dark", "slate", "default")):
        page = opened("index.html", scheme=scheme)
        assert page.locator("body").get_attribute("data-md-color-scheme") == own
        page.locator("form[data-md-component=palette] label:not([hidden])").click()
        assert page.locator("body").get_attribute("data-md-color-scheme") == other


@pytest.mark.browser
def test_no_page_is_wider_than_its_window(opened: Open, site: Path) -> None:
    page = opened("index.html")
    for name in sorted({path.relative_to(site) for path in site.rglob("*.html")} - {Path("404.html")}):  # that one is a server's
        page.goto((site / name).as_uri())
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.scrollingElement.scrollWidth") <= width, name
            cut = page.evaluate(CUT)
            assert cut == 0, name
