"""Flags, files and presets become the settings one would write by hand; every bad value is one sentence."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orograph.branches.settings import FollowSettings
from orograph.cli import main
from orograph.errors import ConfigurationError
from orograph.settings.configure import as_flags, merge, parse
from orograph.sweep.settings import PRESETS, LadderSettings, SweepCommand, SweepSettings


def sweep(*args: str) -> SweepCommand:
    return parse(SweepCommand, list(args), command="sweep", description="", presets=PRESETS)


def test_a_preset_yields_to_a_file_and_a_file_to_a_flag(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[ladder]\npoints = 7\nmax = 0.5\n[anchor]\nseeds = [3, 4]\n")
    settings = sweep("--preset", "weight-decay", "--config", str(file), "--points", "9")
    assert settings.data.dataset == "mnist"
    assert settings.ladder.max == 0.5
    assert settings.ladder.points == 9
    assert settings.anchor.seeds == (3, 4)


def test_the_configuration_of_a_run_is_a_file_of_settings_whatever_it_records_besides(tmp_path: Path) -> None:
    path = tmp_path / "configuration.toml"
    path.write_text('run = "fold"\nbegins_at = "0123"\n[branch]\npoints = 7\n')
    found = parse(FollowSettings, ["--config", str(path)], command="follow", description="", presets={})
    assert (found.run, found.branch.points) == ("fold", 7)


def test_a_flag_may_mend_what_a_file_leaves_impossible(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[ladder]\nmin = 0.5\n")  # above the default --max
    with pytest.raises(ConfigurationError, match="larger than `max`"):
        sweep("--config", str(file))
    assert sweep("--config", str(file), "--max", "1").ladder.ladder()[0] == 0.5


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--pionts", "3"], "did you mean '--points'"),
        (["--dataset", "mnits"], "did you mean 'mnist'"),
        (["--model", "mpl"], "did you mean 'mlp'"),
        (["--preset", "anchro"], "did you mean 'anchor'"),
        (["--points", "0"], "at least 1"),
        (["--points", "many"], "points"),
        (["--min", "-0.1"], "≥ 0"),
        (["--max", "nan"], "≥ 0"),
        (["--strengths", "0.1,inf"], "≥ 0"),
        (["--strengths", "0.1,0.1"], "twice"),
        *(
            ([flag, given], "list of nothing")
            for flag in ("--strengths", "--seeds", "--widths", "--metrics")
            for given in ("", ",")
        ),
        (["--spacing", "log"], "`min` above 0"),
        (["--spacing", "adaptive"], "`min` above 0"),
        (["--start", "anchor"], "`perturb`"),
        (["--perturb", "0.1"], "`start` anchor"),
        (["--seeds", "1,1"], "different"),
        (["--anchor", "train:x"], "train:0"),
        (["--lr", "-1"], "lr"),
        (["--memory", "lots"], "4GiB"),
        (["--k", "-1"], "at least 0"),
        (["--config", "absent.toml"], "cannot be read"),
        (["--which", "XX"], "LM"),
    ],
)
def test_a_bad_value_is_one_sentence_that_names_it(args: list[str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as error:
        sweep(*args)
    assert "\n" not in str(error.value)


def test_settings_refuse_with_a_value_error_that_names_arguments() -> None:
    with pytest.raises(ValueError, match=r"`momentum` 0\.5 belongs to SGD") as error:
        SweepSettings(training={"momentum": 0.5})
    assert isinstance(error.value, ConfigurationError)
    with pytest.raises(ConfigurationError, match="`track_curvature` -1"):
        SweepSettings.model_validate({"tracking": {"track_curvature": -1}})


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: SweepSettings.model_validate_json('{"ladder": {"points": 0}}'), "`points` 0 must be at least 1"),
        (lambda: SweepSettings.model_validate_json('{"ladder": '), "settings of .*: invalid JSON"),
        (lambda: SweepSettings.model_validate_strings({"spectrum": {"k": "-1"}}), "`k` -1 must be at least 0"),
        (lambda: SweepSettings.model_validate([1]), r"settings of \[1\]: input should be a valid dictionary"),
        (lambda: SweepSettings(ladder={"points": 10**5000}), "`points` is a whole number of 16610 bits"),
        (lambda: SweepSettings.model_validate({"anchor": {"seeds": [0, -(16**5000)]}}), "`seeds` is a whole number"),
        (lambda: setattr(SweepSettings(), "data", 3), "not changed in place; make others, with another `data`"),
        (lambda: delattr(SweepSettings().ladder, "points"), "not changed in place"),
    ],
)
def test_settings_refuse_in_one_sentence_however_they_are_made_or_changed(wrong: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        wrong()


@pytest.mark.parametrize("place", ["[ladder]\npoints", "[ladder]\nmax", "[data]\ndataset", "[anchor]\nseeds"])
def test_numbers_that_python_does_not_write_out_are_one_sentence(place: str, tmp_path: Path) -> None:
    file = tmp_path / "huge.toml"
    file.write_text(f"{place} = 0x{'f' * 5000}\n")  # only decimal digits have a limit where TOML is read
    with pytest.raises(ConfigurationError, match=f"`{place.split()[-1]}` is a whole number of 20000 bits"):
        sweep("--config", str(file))


def test_the_command_line_shows_arguments_as_its_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "--momentum", "0.5"]) == 2
    assert "--momentum 0.5 belongs to SGD; add --optimizer SGD or" in capsys.readouterr().err
    message = "`batch_size` 0 and `preset` are arguments of a sweep, `top_k` and `python` are not"
    told = "--batch-size 0 and --preset are arguments of a sweep, `top_k` and `python` are not"
    assert as_flags(message, SweepCommand) == told


def test_what_is_left_to_the_program_is_a_word_outside_and_none_inside(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[data]\nsubset_size = "all"\n[numerics]\ndevice = "auto"\n')
    settings = sweep("--config", str(file), "--out", "auto")
    assert (settings.data.subset_size, settings.numerics.device, settings.execution.out) == (None, None, None)
    assert settings.model_dump()["data"]["subset_size"] == "all"
    assert settings.model_dump(mode="json")["numerics"]["device"] == "auto"
    assert sweep("--subset-size", "300", "--device", "cpu").data.subset_size == 300
    with pytest.raises(ConfigurationError, match="'few' is neither 'all' nor a number"):
        sweep("--subset-size", "few")


def test_an_unknown_setting_in_a_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[ladder]\npionts = 7\n")
    with pytest.raises(ConfigurationError, match="pionts"):
        sweep("--config", str(file))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[ladder]\npoints = 1979-05-27", "setting points = datetime.date(1979, 5, 27): input should be a valid integer"),
        ("[data]\ndataset = ['a']", "setting dataset = ['a']: input should be a valid string"),
        ("[ladder]\npoints = 10000000", "--points 10000000 must be at most 100000"),
        ("# " + "." * 200 + "\n[data]\ndataset = 3", "setting dataset = 3"),
    ],
)
def test_a_value_of_another_kind_in_a_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    assert main(["sweep", "--config", str(file), "--dry-run"]) == 2
    assert words in capsys.readouterr().err


HOSTILE = {
    "arrays without end": b"a = " + b"[" * 100_000,
    "tables without end": b"a = " + b"{a = " * 20_000,
    "keys without end": b".".join([b"a"] * 50_000) + b" = 1",
    "a number of 10,000 digits": b"[ladder]\npoints = 1" + b"0" * 10_000,
    "a number of 400 digits": b"[ladder]\npoints = 1" + b"0" * 400,
    "a number of 400 digits for a float": b"[training]\nlr = 1" + b"0" * 400,
    "a number that is none": b"[training]\nlr = nan",
    "no UTF-8": b"[data]\ndataset = '\xff\xfe'",
    "half a character": b'[data]\ndataset = "\\ud800"',
    "a terminal's commands": b'[data]\ndataset = "\\u001b[2Jx"',
    "a key with a line break": b'"a\\nerror: forged" = 1',
    "a key twice": b"a = 1\na = 2",
    "a table for a value": b"[data.dataset]\nx = 1",
    "a value for a table": b"data = 3",
    "a list for a value": b"[data]\ndataset = ['a']",
    "nothing but zeros": bytes(1000),
    "a date": b"[ladder]\npoints = 1979-05-27",
    "JSON": b'{"data": {"dataset": "digits"}}',
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_of_settings_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(HOSTILE[what])
    assert main(["sweep", "--config", str(file), "--out", str(tmp_path / "run"), "--dry-run"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert len(captured.err.strip().splitlines()) == 1
    assert captured.err.strip().isprintable()
    assert len(captured.err) < 2000
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("place", ["folder", "pipe", "device", "absent"])
def test_a_place_that_is_no_file_of_settings_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    path = Path("/dev/zero") if place == "device" else tmp_path / place
    if place == "folder":
        path.mkdir()
    if place == "pipe":
        os.mkfifo(path)
    assert main(["sweep", "--config", str(path), "--dry-run"]) == 2
    assert capsys.readouterr().err.startswith(f"error: --config {path} cannot be read: ")


def test_the_resolved_settings_run_again_from_their_own_file(tmp_path: Path) -> None:
    import tomli_w

    settings = sweep("--points", "3", "--seeds", "1,2", "--subset-size", "100", "--strengths", "0.5,0.25")
    file = tmp_path / "configuration.toml"
    file.write_text(tomli_w.dumps(settings.model_dump(exclude={"execution"})))
    assert sweep("--config", str(file)) == settings


def test_presets_are_the_published_ladders() -> None:
    assert sweep("--preset", "anchor", "--anchor", "train:0").ladder.ladder()[:3] == [0, 0.0002, 0.0004]
    ladder = sweep("--preset", "classes").ladder.ladder()
    assert (len(ladder), ladder[1], ladder[-1]) == (451, 0.0002, 0.09)


@given(points=st.integers(2, 600), low=st.floats(1e-6, 1), factor=st.floats(1.1, 1e4), spacing=st.sampled_from(["linear", "log"]))
def test_a_ladder_ascends_from_its_smallest_to_its_largest_strength(points, low, factor, spacing) -> None:
    ladder = LadderSettings(points=points, min=low, max=low * factor, spacing=spacing).ladder()
    assert len(ladder) == points
    assert all(a < b for a, b in itertools.pairwise(ladder))
    assert ladder[0] == pytest.approx(low)
    assert ladder[-1] == pytest.approx(low * factor)


def test_settings_differ_in_their_digest() -> None:
    assert SweepSettings().digest() == SweepSettings().digest() != sweep("--points", "3").digest()


def test_merge_is_deep_and_does_not_write_to_its_arguments() -> None:
    base = {"a": {"b": 1, "c": 2}}
    assert merge(base, {"a": {"b": 3}}) == {"a": {"b": 3, "c": 2}}
    assert base == {"a": {"b": 1, "c": 2}}


def test_a_sweep_without_tracking_is_recorded_as_before_there_was_any() -> None:
    plain, tracked = sweep(), sweep("--track-curvature", "2")
    assert "tracking" not in plain.configuration()
    assert tracked.configuration()["tracking"] == {"track_curvature": 2}
    assert plain.digest() != tracked.digest()
