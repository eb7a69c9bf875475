"""The one page of a report: its parts, put together. Nothing in it is fetched from anywhere."""

import html
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from orograph.errors import ConfigurationError
from orograph.report.packing import script_json

SCRIPTS = ("tables.js", "figures.js", "start.js")


def page(data: Mapping[str, Any]) -> str:
    """The HTML of a report.

    Args:
        data: what is shown; `kind` (`sweep`, `study`, `track`, `branch`, `escape` or `connection`) decides which script shows
            it, `title` heads the page.
    """
    scripts = "\n".join(_asset(name) for name in (*SCRIPTS[:2], f"{data['kind']}.js", SCRIPTS[2]))
    parts = {
        "title": html.escape(str(data["title"])),
        "style": _asset("report.css"),
        "data": script_json(data),
        "scripts": scripts,
        "plotly": plotly_script(),
    }
    text = _asset("report.html")
    for name, content in parts.items():  # not str.format: scripts are full of braces
        before, _, after = text.partition(f"<!--{name}-->")
        text = before + content + after
    return text


def plotly_script() -> str:
    """plotly.js, as the Python package ships it.

    Raises:
        ConfigurationError: the package is not installed.
    """
    try:
        return files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")
    except ImportError:
        raise ConfigurationError("a report needs the package plotly: pip install 'orograph[report]'.") from None


def _asset(name: str) -> str:
    return files("orograph.report").joinpath("assets", name).read_text(encoding="utf-8")
