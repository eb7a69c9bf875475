"""What a user chooses of `orograph report`; imports no torch."""

import tyro
from pydantic import Field

from orograph.settings.base import Settings
from orograph.settings.words import Auto


class ReportSettings(Settings):
    """What `orograph report` takes."""

    run: tyro.conf.Positional[str] = Field("", description="the directory of a sweep or a study")
    out: Auto = Field(None, description="the file to write; auto is RUN/report.html")
    quiet: bool = Field(False, description="do not say where the report is")
