"""A hook of mkdocs: what a person reads comes before what a person looks up, in what the site's search finds."""

from typing import Any

from mkdocs.structure.pages import Page


def on_page_markdown(markdown: str, page: Page, **_: Any) -> None:
    """Tells the search what a page weighs; the reference on one page says nothing that the others do not."""
    name = page.file.src_uri
    if name == "reference/all.md":
        page.meta["search"] = {"exclude": True}
    elif not name.startswith("reference/"):
        page.meta["search"] = {"boost": 4 if name.startswith("how-to/") else 2}
