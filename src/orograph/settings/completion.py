"""Completion of commands and options in a shell, from the same settings that make the flags."""

from collections.abc import Mapping
from typing import Annotated, Any, Union

import tyro
from pydantic import BaseModel

SHELLS = ("bash", "zsh", "tcsh")


def print_completion(commands: Mapping[str, type[BaseModel]], shell: str) -> None:
    """Prints the script that a shell reads: `eval "$(orograph completion bash)"`.

    Args:
        commands: the settings of each command.
        shell: one of `SHELLS`.
    """
    kinds: list[Any] = [
        Annotated[tyro.conf.OmitArgPrefixes[settings], tyro.conf.subcommand(name=name, prefix_name=False)]  # type: ignore[misc, valid-type]
        for name, settings in commands.items()
    ]
    every: Any = Union[tuple(kinds)]  # noqa: UP007 - made at run time
    tyro.cli(every, prog="orograph", args=["--tyro-print-completion", shell])
