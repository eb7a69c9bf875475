"""Which of the field's measures are taken at a point, by their names; imports no torch."""

from pydantic import Field, field_validator

from orograph.errors import ConfigurationError, unknown
from orograph.settings.base import Settings
from orograph.settings.words import Words

MEASURES = ("layers", "llc", "llc-layers", "sharpening", "sam", "asymmetry", "influence", "kfac")


def chosen(names: tuple[str, ...], known: tuple[str, ...] = MEASURES) -> tuple[str, ...]:
    """The measures that words name, each once and in the order in which they are known; `all` names every one, `none` none.

    Raises:
        ConfigurationError: another word, or a word beside `all` or `none`.
    """
    for name in names:
        if name in ("all", "none") and len(names) > 1:
            raise ConfigurationError(f"`measures` {','.join(names)}: {name} stands alone; leave out the others")
        if name == "topology" and name not in known:
            raise ConfigurationError("`measures` topology: it is of a surface, not of a point; a study finds it with --2d-slice")
        if name not in (*known, "all", "none"):
            raise unknown("measure", name, (*known, "all", "none"))
    return known if names == ("all",) else tuple(name for name in known if name in names)


def named_blocks(words: tuple[str, ...]) -> dict[str, str]:
    """Groups of parameters by name, each with its comma-separated globs, of words NAME=GLOB of which a name may have several.

    Raises:
        ConfigurationError: a word without a name or a glob.
    """
    found: dict[str, str] = {}
    for word in words:
        name, sign, glob = (part.strip() for part in word.partition("="))
        if not (name and sign and glob):
            raise ConfigurationError(f"`blocks` '{word}' is no group: write a name and a glob of parameter names, as early=fc1.*")
        found[name] = f"{found[name]},{glob}" if name in found else glob
    return found


class MeasuresSettings(Settings):
    """What is measured of a point beside what always is."""

    measures: Words = Field((), description=f"also these measures of each point: {', '.join(MEASURES)}; or all")

    @field_validator("measures")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return chosen(names)
