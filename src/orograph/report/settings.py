"""What a user chooses of `orograph report`; imports no torch."""

import tyro
from pydantic import Field

from orograph.settings.base import Settings
from orograph.settings.words import POINTS, SEEDS, Auto, Integers, Words


class ReportSettings(Settings):
    """What `orograph report` takes."""

    run: tyro.conf.Positional[str] = Field("", description="the directory of a sweep or a study")
    seeds: Integers = Field((), description=SEEDS)
    points: Words = Field((), description=POINTS)
    out: Auto = Field(None, description="the file to write; auto is RUN/report.html, of a part RUN/report-part.html")
    quiet: bool = Field(False, description="do not say where the report is")
