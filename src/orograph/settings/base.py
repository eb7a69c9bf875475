"""The base of all settings: frozen models, one concept each, checked here, no torch imported."""

import contextlib
import inspect
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from orograph.errors import ConfigurationError, shown

MOST_SEED = 2**32 - 1  # NumPy's global stream takes no more
MOST_PARALLEL = 1024  # threads of a process, and processes
BEGINS_AT = "begins_at"  # in a run's configuration beside its settings: SHA-256 of the states that it begins with
_MOST_BITS = 13_000  # 3913 digits; Python writes out 4300
SMALLEST = {"float32": 1.2e-38, "float64": 2.3e-308}  # that are held with all their digits
LARGEST = {"float32": 1e37, "float64": 1e300}  # numbers whose products with 2 and with a small θ are finite


def is_own(name: str) -> bool:
    """Whether a name means something of one's own: it has a colon, which no built-in name has."""
    return ":" in name


def folder_name(name: str) -> str:
    """A name of data as part of a folder's name: `module:loader` and paths have characters that no folder should."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", name.removeprefix("object:")).strip("-.")


def require_range(name: str, value: float, least: float, most: float) -> None:
    """Refuses a number outside its bounds.

    Raises:
        ConfigurationError: naming the value and the bounds.
    """
    if value < least:
        raise ConfigurationError(f"`{name}` {value} must be at least {least}")
    if not value <= most:
        raise ConfigurationError(f"`{name}` {value} must be at most {most}")


def require_writable(name: str, value: Any) -> None:
    """Refuses a whole number that no message could show: Python does not write out more than 4300 digits.

    Raises:
        ConfigurationError: naming the setting.
    """
    for each in value if isinstance(value, list | tuple) else (value,):
        if isinstance(each, int) and each.bit_length() > _MOST_BITS:
            raise ConfigurationError(f"`{name}` is a whole number of {each.bit_length()} bits; give one of {_MOST_BITS} at most.")


class Settings(BaseModel):
    """Refuses what cannot be with a `ConfigurationError`, of the first value that is wrong."""

    # Validators are built when something is validated: `--help` needs none.
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    @field_validator("*", mode="before")
    @classmethod
    def _writable(cls, value: Any, info: ValidationInfo) -> Any:
        require_writable(info.field_name or "", value)
        if isinstance(value, str):
            if "\0" in value:
                raise ConfigurationError(f"{value!r} holds a character with the number 0, which no name can have; leave it out.")
            if any("\ud800" <= letter <= "\udfff" for letter in value):  # how Python keeps what it cannot decode
                raise ConfigurationError(f"{value!r} is no text in this locale; rename it, or set a locale of UTF-8.")
        return value

    if not TYPE_CHECKING:  # so that a type checker sees the fields in place of these

        def __init__(self, **values):
            with _explained():
                super().__init__(**values)

        @classmethod
        def model_validate(cls, values: Any, **options: Any) -> Self:
            """Settings out of plain values, checked.

            Args:
                values: by field name, nested where settings hold settings.
                options: as pydantic's own takes them.

            Returns:
                The settings.

            Raises:
                ConfigurationError: naming the first value that is wrong.
            """
            with _explained():
                return super().model_validate(values, **options)

        @classmethod
        def model_validate_json(cls, text: str | bytes, **options: Any) -> Self:
            """Settings out of JSON, checked.

            Args:
                text: an object, tables as objects in it.
                options: as pydantic's own takes them.

            Returns:
                The settings.

            Raises:
                ConfigurationError: naming the first value that is wrong.
            """
            with _explained():
                return super().model_validate_json(text, **options)

        @classmethod
        def model_validate_strings(cls, values: Any, **options: Any) -> Self:
            """Settings out of words, checked.

            Args:
                values: by name, all of them text.
                options: as pydantic's own takes them.

            Returns:
                The settings.

            Raises:
                ConfigurationError: naming the first value that is wrong.
            """
            with _explained():
                return super().model_validate_strings(values, **options)

        def __setattr__(self, name, value):
            with _explained():
                super().__setattr__(name, value)

        def __delattr__(self, name):
            with _explained():
                super().__delattr__(name)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        raise explain(error) from None


def group(kind: type[BaseModel]) -> Any:
    """A field of settings of their own, described by their docstring: tyro would read source files to find it."""
    return Field(default_factory=kind, description=inspect.cleandoc(kind.__doc__ or ""))


def explain(error: ValidationError, setting: str = "") -> ConfigurationError:
    """The first thing that is wrong as one sentence; `setting` is what was validated, where it is one alone."""
    first = error.errors()[0]
    if isinstance(cause := first.get("ctx", {}).get("error"), ConfigurationError):
        return cause
    name = setting or ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return ConfigurationError(f"unknown setting '{name}' in the configuration.")
    if first["type"] == "frozen_instance":
        return ConfigurationError(f"settings are not changed in place; make others, with another `{name}`.")
    if not name:  # what should have been a table of settings is none
        return ConfigurationError(f"settings of {shown(repr(first['input']), 60)}: {first['msg'][0].lower()}{first['msg'][1:]}.")
    return ConfigurationError(f"setting {name} = {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}.")
