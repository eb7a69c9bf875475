"""Invocations that nobody thought of: every flag of every command with every awkward value, and configurations of any content.

What would be done is left out, so that an invocation that happens to be right ends at once; all others end with one sentence.
"""

import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from orograph import cli

QUICK, SLOW = 250, 3000 if settings.get_current_profile_name() == "search" else 1000

TEXTS = """0 -1 -0.0 ² 1e39 1e400 nan inf -inf 1_000 0x10 1,2,3 , 1,,2 1,1 None auto all true False [1] {} =cmd [/b] [bold] train:
train:-1 train:² os:system : a:b:c meta mps cuda:99 -- -h0 ../../x /dev/null"""
AWKWARD = st.sampled_from([*TEXTS.split(), "", " ", "9" * 320, "ä" * 300, "\x1b[31m", "a\nb", "a\0b", "\udcff"])
VALUES = st.one_of(AWKWARD, st.integers().map(str), st.floats().map(str), st.text(max_size=20))


def flags(model: type[BaseModel]) -> Iterator[str]:
    """The names of all settings of a command."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from flags(kind)
        else:
            yield "--" + name.replace("_", "-")


FLAGS = {name: [*flags(cli.settings_of(name)), "--preset", "--config", "--json", "--debugs"] for name in cli.COMMANDS}
WORDS = st.sampled_from(sorted(cli.COMMANDS)).flatmap(
    lambda name: st.tuples(
        st.just(name),
        st.lists(
            st.one_of(
                st.tuples(st.sampled_from(FLAGS[name]), VALUES), st.tuples(st.sampled_from(FLAGS[name])), st.tuples(VALUES)
            ),
            max_size=6,
        ),
    )
)
PLAIN = st.one_of(
    st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(st.characters(codec="utf-8"), max_size=8), AWKWARD
).filter(lambda value: not isinstance(value, str) or "\udcff" not in value)
TABLES = [
    "data",
    "model",
    "ladder",
    "anchor",
    "training",
    "spectrum",
    "tracking",
    "numerics",
    "execution",
    "architecture",
    "other",
]
NAMES = st.one_of(
    st.sampled_from(sorted({flag[2:].replace("-", "_") for each in FLAGS.values() for flag in each})),
    st.text(st.characters(codec="utf-8"), max_size=8),
)
CONTENT = st.dictionaries(
    st.sampled_from(TABLES),
    st.one_of(PLAIN, st.dictionaries(NAMES, st.one_of(PLAIN, st.lists(PLAIN, max_size=3)), max_size=4)),
    max_size=4,
)


def ended(args: list[str]) -> None:
    """Fails unless the command ends with 0, or with 2 and one sentence."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main(args)
        except SystemExit as stop:  # the help of a command
            code = stop.code
    said = err.getvalue()
    assert code in (0, None) or (code == 2 and said.startswith("error: ") and len(said.splitlines()) == 1), (args, code, said)


@pytest.fixture(autouse=True, scope="module")
def nothing_is_done() -> Iterator[None]:
    """Settings are made, and what they would start is not."""
    found = cli._found
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.chdir(folder)
        functions = {command.function for command in cli.COMMANDS.values()}
        patch.setattr(cli, "_found", lambda place: (lambda settings: 0) if place in functions else found(place))
        patch.setattr(cli, "_begin_cluster", lambda execution: None)
        yield
        assert not [path for path in Path(folder).iterdir() if path.suffix != ".toml"]


def invocation(drawn: tuple[str, list[tuple[str, ...]]]) -> None:
    name, words = drawn
    ended([name, *(word for each in words for word in each)])


def configuration(name: str, content: dict[str, Any]) -> None:
    Path("mine.toml").write_bytes(tomli_w.dumps(content).encode(errors="replace"))
    ended([name, "--config", "mine.toml"])


@settings(max_examples=QUICK)
@given(WORDS)
def test_any_words_are_taken_or_refused_in_one_sentence(drawn: tuple[str, list[tuple[str, ...]]]) -> None:
    invocation(drawn)


@pytest.mark.slow
@settings(max_examples=100)
@given(st.sampled_from(["sweep", "study", "import", "measure", "analyze"]), CONTENT)
def test_any_configuration_is_taken_or_refused_in_one_sentence(name: str, content: dict[str, Any]) -> None:
    configuration(name, content)


@settings(max_examples=50)
@given(st.binary(max_size=60))
def test_any_bytes_as_a_configuration_are_taken_or_refused_in_one_sentence(content: bytes) -> None:
    Path("mine.toml").write_bytes(content)
    ended(["sweep", "--config", "mine.toml"])


@pytest.mark.slow
@settings(max_examples=SLOW)
@given(WORDS)
def test_many_words_are_taken_or_refused_in_one_sentence(drawn: tuple[str, list[tuple[str, ...]]]) -> None:
    invocation(drawn)


@pytest.mark.slow
@settings(max_examples=SLOW)
@given(st.sampled_from(["sweep", "study", "import", "measure", "analyze"]), CONTENT)
def test_many_configurations_are_taken_or_refused_in_one_sentence(name: str, content: dict[str, Any]) -> None:
    configuration(name, content)
