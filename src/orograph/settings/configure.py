"""Settings out of presets, a TOML file and flags, each overriding the one before."""

import argparse
import contextlib
import io
import re
import sys
import tomllib
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from pydantic import BaseModel, TypeAdapter, ValidationError

from orograph.errors import ConfigurationError, unknown
from orograph.reading import read_file
from orograph.settings.base import BEGINS_AT, explain, require_writable

S = TypeVar("S", bound=BaseModel)

_LONGEST = 2**20  # bytes of a file of settings
_DEEPEST = 100  # dots in a key: the time to read one grows with their cube
_PIECES = re.compile(r"^\s*#.*$|[=,{}\[\]\n]", re.MULTILINE)  # what stands between keys and values


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings joined; `over` wins.

    Args:
        base: what holds where `over` says nothing.
        over: what holds.

    Returns:
        A new mapping; neither is changed.
    """
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merge(result[key], value) if both else value
    return result


def read_toml(path: str) -> dict[str, Any]:
    """Settings from a file.

    Args:
        path: of a TOML file.

    Returns:
        What it says, tables as mappings.

    Raises:
        ConfigurationError: there is no such file, or it is no TOML.
    """
    try:
        text = read_file(Path(path), _LONGEST).decode()
        if any(piece.count(".") > _DEEPEST for piece in _PIECES.split(text)):
            raise ValueError(f"a key has more than {_DEEPEST} parts")
        return tomllib.loads(text)
    except OSError as error:
        raise ConfigurationError(f"`config` {path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, integers of thousands of digits, tables without end
        raise ConfigurationError(f"`config` {path} is not TOML: {str(error).splitlines()[0].rstrip('.')}.") from None


def _defaults(model: type[S], values: Mapping[str, Any]) -> S:
    """Settings with every value of the right type but combinations unchecked, since flags may still change them."""
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            given = values.get(name, {})
            if not isinstance(given, Mapping):
                raise ConfigurationError(f"setting '{name}' must be a table [{name}].")
            fields[name] = _defaults(kind, given)
        elif name in values:
            require_writable(name, values[name])
            described: Any = Annotated[kind, *field.metadata] if field.metadata else kind
            try:
                fields[name] = TypeAdapter(described).validate_python(values[name])
            except ValidationError as error:
                raise explain(error, name) from None
        else:
            fields[name] = field.get_default(call_default_factory=True)
    extra = set(values) - set(model.model_fields)
    if extra:
        raise unknown("setting", extra.pop(), model.model_fields)
    return model.model_construct(**fields)


def parse(
    model: type[S],
    args: Sequence[str],
    *,
    command: str,
    description: str,
    presets: Mapping[str, Mapping[str, Any]],
) -> S:
    """Settings of one command from its arguments: `--preset`, then `--config`, then every other flag.

    Args:
        model: the settings wanted.
        args: the words after the command.
        command: its name, for help and messages.
        description: for the help.
        presets: settings by name, for `--preset`.

    Returns:
        The settings, complete and checked.

    Raises:
        ConfigurationError: an unknown preset, flag or setting, or a value out of range.
    """
    files = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    files.add_argument("--preset")
    files.add_argument("--config")
    with _one_sentence():
        chosen, rest = files.parse_known_args(args)
    values: dict[str, Any] = {}
    if chosen.preset:
        if chosen.preset not in presets:
            raise unknown("preset", chosen.preset, presets)
        values = merge(values, presets[chosen.preset])
    if chosen.config:
        recorded = read_toml(chosen.config)
        recorded.pop(BEGINS_AT, None)  # no setting: of the configuration of a run
        values = merge(values, recorded)
    default = _defaults(model, values)
    cli: Any = tyro.conf.OmitArgPrefixes[model]  # type: ignore[misc, valid-type]
    if {"-h", "--help"} & set(rest):
        with _trusted_defaults():
            return tyro.cli(cli, args=["--help"], prog=f"orograph {command}", description=description, default=default)
    with _one_sentence():
        try:
            return tyro.cli(cli, args=rest, prog=f"orograph {command}", default=default)
        except ValidationError as error:
            raise explain(error) from None


@contextlib.contextmanager
def _trusted_defaults() -> Iterator[None]:
    """tyro asks typeguard whether every default has its type. They have; its import takes a quarter of the time of `--help`."""
    stand_in: Any = types.ModuleType("typeguard")
    stand_in.check_type, stand_in.TypeCheckError = (lambda value, kind: value), TypeError
    absent = sys.modules.setdefault("typeguard", stand_in) is stand_in
    try:
        yield
    finally:
        if absent:
            del sys.modules["typeguard"]


@contextlib.contextmanager
def _one_sentence() -> Any:
    """A parser that prints a box and exits becomes a ConfigurationError that says the same in one sentence."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            yield
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        if (refused := _refused(stop)) is not None:
            raise refused from None
        raise ConfigurationError(_sentence(printed.getvalue())) from None
    finally:
        if not sys.exc_info()[0]:
            sys.stderr.write(printed.getvalue())


def _refused(stop: BaseException) -> ConfigurationError | None:
    """What settings said of a value, if that is why tyro stopped: it takes every ValueError for one of its own."""
    cause: BaseException | None = stop
    while cause is not None and not isinstance(cause, ConfigurationError):
        cause = cause.__context__
    return cause


def as_flags(message: str, model: type[BaseModel]) -> str:
    """A message that names arguments as `name`, with the flags of a command in their place."""
    names = {"preset", "config", *_names(model)}
    return re.sub(r"`(\w+)`", lambda found: f"--{found[1].replace('_', '-')}" if found[1] in names else found[0], message)


def _names(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _names(kind)
        elif tyro.conf.Positional not in field.metadata:  # which has no flag
            yield name


def _sentence(box: str) -> str:
    """The message of tyro's or argparse's error text, with the nearest flag where one is offered."""
    lines = [re.sub(r"^[│╭╰─\s]+|[│╮╯─\s]+$", "", line) for line in box.splitlines()]
    text = " ".join(line for line in lines if line)
    match = re.search(r"Unrecognized options: (\S+?),? ", text + " ")
    if match:
        near = re.search(r"Perhaps you meant:\s+(--[\w-]+)", text)
        return f"unknown flag '{match[1].rstrip(',')}'; " + (f"did you mean '{near[1]}'?" if near else "see --help.")
    match = re.search(r"(?:Error parsing|error:) (.*?)(?: Argument helptext| For full helptext|$)", text)
    return f"{match[1] if match else text}."
