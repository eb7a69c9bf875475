"""Settings of a problem of one's own: loss, metrics, groups, the parameters that make up θ. Imports no torch."""

from typing import Annotated

import tyro
from pydantic import Field

from orograph.settings.base import Settings
from orograph.settings.words import Words


class ProblemSettings(Settings):
    """What is minimised and measured, where it is another than the mean cross-entropy and the accuracy."""

    loss: str = Field(
        "cross_entropy",
        description="squared (½‖y − f(x)‖² a sample), a function of torch.nn.functional, or module:function of your own",
    )
    metrics: Words = Field((), description="names or module:metric; left out, those that outputs and targets admit")
    groups: str = Field("", description="module:function that gives each sample of a batch its group; empty for the classes")
    train: str = Field("", description="module:function of (model, penalty, start, seed, report) that trains in place")
    parameters: str = Field(
        "*", description="globs of the parameters that make up θ, as head.*,*.lora_*; the penalty is on these"
    )
    sources: Annotated[dict[str, str], tyro.conf.Suppress] = Field(
        default_factory=dict, description="SHA-256 of the files that your own parts are written in, by part"
    )
    checksum: Annotated[str, tyro.conf.Suppress] = Field("", description="SHA-256 of data of your own")
