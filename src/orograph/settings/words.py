"""Values as they are written: a list as one word, and a word for what is left to the program. Inside they are tuples and None."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, PlainSerializer
from tyro.constructors import PrimitiveConstructorSpec


def comma_list(kind: type) -> Any:
    """A flag that takes `0,1,2` as one word. One that is given is not empty: what a script computed to nothing is no default."""

    def parse(words: list[str]) -> tuple[Any, ...]:
        try:
            found = tuple(kind(word.strip()) for word in words[0].split(",") if word.strip())
        except ValueError:
            raise ValueError(f"'{words[0]}' is not a comma-separated list of numbers") from None
        if not found:
            raise ValueError(f"'{words[0]}' is a list of nothing: name a value, or leave the flag out")
        return found

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="X,X,…",
        instance_from_str=parse,
        is_instance=lambda value: isinstance(value, tuple) and all(isinstance(item, kind | int) for item in value),
        str_from_instance=lambda value: [",".join(str(item) for item in value)],
    )


Integers = Annotated[tuple[int, ...], comma_list(int)]


Numbers = Annotated[tuple[float, ...], comma_list(float)]


Words = Annotated[tuple[str, ...], comma_list(str)]

# How a part of a run is chosen, wherever one is.
SEEDS = "these seeds alone; left out, all"
POINTS = "these strengths λ alone, and stretches of them, as 0.001,0.01:0.03; left out, all"


def word_for_none(word: str, kind: type, metavar: str) -> Any:
    """A value that may be left to the program: the word in flags, files and records, None inside."""

    def parse(words: list[str]) -> Any:
        try:
            return None if words[0] == word else kind(words[0])
        except ValueError:
            raise ValueError(f"'{words[0]}' is neither '{word}' nor a number") from None

    return Annotated[
        kind | None,
        BeforeValidator(lambda value: None if value == word else value),
        PlainSerializer(lambda value: word if value is None else value),
        PrimitiveConstructorSpec(
            nargs=1,
            metavar=metavar,
            instance_from_str=parse,
            is_instance=lambda value: value is None or isinstance(value, kind),
            str_from_instance=lambda value: [word if value is None else str(value)],
        ),
    ]


if TYPE_CHECKING:
    Auto = str | None
    Count = int | None
    Automatic = int | None
else:
    Auto = word_for_none("auto", str, "STR")
    Count = word_for_none("all", int, "INT|{all}")
    Automatic = word_for_none("auto", int, "INT|{auto}")
