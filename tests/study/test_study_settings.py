"""Flags of a study become the settings one would write by hand; every mistake is one sentence, and nothing is written."""

from pathlib import Path

import pytest

from orograph.cli import main
from orograph.errors import ConfigurationError
from orograph.settings.configure import parse
from orograph.settings.shared import NumericsSettings
from orograph.store.run import Run
from orograph.study.grid import configurations, varied
from orograph.study.settings import StudyCommand, StudySettings

PUBLISHED = (
    "--model MLP2 --hidden-size 4096 --optimizer AdamW --scheduler cosine --epochs 50 --lr 5e-4 --batch-size 128 "
    "--subset-size 6000 --num-seeds 3 --comprehensive --plot --save-results"
)


def study(text: str) -> StudyCommand:
    return parse(StudyCommand, text.split(), command="study", description="", presets={})


def test_the_published_command_is_understood_word_for_word() -> None:
    settings = study(PUBLISHED)
    (chosen,) = configurations(settings)
    assert chosen.name == "MLP2-h4096-AdamW"
    assert (chosen.model, chosen.hidden_size, chosen.activation) == ("MLP2", 4096, "relu")
    assert (chosen.optimizer, chosen.scheduler, chosen.lr, chosen.weight_decay) == ("AdamW", "cosine", 5e-4, 5e-4)
    assert (chosen.epochs, chosen.batch_size, chosen.min_lr) == (50, 128, 1e-5)
    assert settings.data.dataset == "mnist"
    assert settings.data.subset_size == 6000
    assert settings.optimisation.seeds == (0, 1, 2)
    assert settings.metrics.comprehensive
    assert settings.execution.plot
    assert settings.execution.save_results


def test_its_other_flags_go_with_it() -> None:
    settings = study(f"{PUBLISHED} --2d-slice --spectrum-plot --compare-optimizers")
    assert settings.surfaces.slice_2d
    assert settings.metrics.spectrum_plot
    assert [(each.name, each.lr) for each in configurations(settings)] == [
        ("MLP2-h4096-SGD", None),
        ("MLP2-h4096-Adam", None),
        ("MLP2-h4096-AdamW", None),
    ]


def test_lists_multiply_in_their_order() -> None:
    settings = study("--hidden-size 128,512 --optimizer SGD,AdamW --lr 1e-3,0.1")
    found = configurations(settings)
    assert len(found) == 8
    assert [each.name for each in found[:4]] == [
        "MLP2-h128-SGD",
        "MLP2-h128-SGD-lr0.1",
        "MLP2-h128-AdamW-lr0.001",
        "MLP2-h128-AdamW-lr0.1",
    ]
    assert varied(found) == ["hidden_size", "optimizer", "lr", "weight_decay", "momentum"]


def test_a_name_does_not_depend_on_the_grid_around_it() -> None:
    alone = configurations(study("--hidden-size 512 --optimizer SGD"))
    grid = configurations(study("--hidden-size 128,512 --optimizer SGD,AdamW --model MLP1,MLP2"))
    assert alone[0] in grid


def test_a_setting_that_a_model_lacks_does_not_multiply_it() -> None:
    found = configurations(study("--model MLP1,ResNet --hidden-size 16,32 --depth 8,14"))
    assert [each.name for each in found] == [
        "MLP1-h16-AdamW",
        "MLP1-h32-AdamW",
        "ResNet-d8-w1-AdamW",
        "ResNet-d14-w1-AdamW",
    ]


def test_a_study_may_come_from_its_own_file(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text('[architecture]\nmodel = ["MLP1"]\nhidden_size = [16, 32]\n[connectivity]\npaths = ["linear"]\n')
    settings = study(f"--config {file} --num-seeds 2")
    assert len(configurations(settings)) == 2
    assert settings.connectivity.paths == ("linear",)


def test_equal_settings_have_equal_digests_and_others_do_not() -> None:
    assert StudySettings().digest() == StudySettings().digest()
    assert study("--hidden-size 64").digest() != study("--hidden-size 65").digest()


MISTAKES = [
    ("--model MPL2", "did you mean 'MLP2'"),
    ("--model mlp", "MLP1"),
    ("--optimizer AdamV", "did you mean 'Adam"),
    ("--scheduler cosin", "did you mean 'cosine'"),
    ("--activation rleu", "did you mean 'relu'"),
    ("--dataset mnits", "mnist"),
    ("--paths linaer", "did you mean 'linear'"),
    ("--num-seeds 1", "no two minima to connect"),
    ("--num-seeds 0 --paths none", "at least 1"),
    ("--dataset digits --subset-size 5000", "larger than the 1442"),
    ("--hidden-size 0", "at least 1"),
    ("--hidden-size 16,16", "twice"),
    ("--hidden-size wide", "comma-separated"),
    ("--model ResNet --hidden-size 16", "does not belong to ResNet"),
    ("--model ResNet --depth 9", "9"),
    ("--lr 0", "above 0"),
    ("--lr nan", "nan"),
    ("--lr 1e-6", "--min-lr"),
    ("--momentum 1", "below 1"),
    ("--weight-decay -1", "at least 0"),
    ("--epochs 0", "at least 1"),
    ("--batch-size 0", "at least 1"),
    ("--comprehensive --fast", "contradict"),
    ("--top-k 0", "at least 1"),
    ("--top-k 100000 --products 300000", "parameters of"),
    ("--products 3", "too few"),
    ("--curve-points 2", "at least 3"),
    ("--subset-size 11 --compare-optimizers", "too few to hold some out"),
    ("--batch-norm --batch-size 1", "two samples"),
    ("--slice-radius 0", "above 0"),
    ("--instability 7 --epochs 5", "nothing would be left"),
    ("--track-curvature -1", "at least 0"),
    ("--threads -1", "at least 0"),
    ("--memory lots", "no size|not a size"),
    ("--epocs 3", "--epochs"),
    ("--config absent.toml", "absent.toml"),
]


@pytest.mark.parametrize(("text", "words"), MISTAKES)
def test_a_mistake_is_one_sentence_and_leaves_the_disk_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, words: str
) -> None:
    out = tmp_path / "run"
    base = "" if "--dataset" in text else "--dataset digits "
    narrow = "" if "--hidden-size" in text or "ResNet" in text else "--hidden-size 5 "
    assert main(["study", *f"{base}{narrow}{text} --quiet --out {out}".split()]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert len(captured.err.strip().splitlines()) == 1
    assert any(each in captured.err for each in words.split("|"))
    assert not out.exists()


def test_a_sweeps_directory_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "run"
    numerics = NumericsSettings(threads=1).model_dump()
    Run.create(out, kind="sweep", configuration={}, numerics=numerics, provenance={}).close()
    assert main(["study", "--dataset", "digits", "--hidden-size", "5", "--quiet", "--out", str(out)]) == 2
    assert "holds a sweep, not a study" in capsys.readouterr().err


def test_settings_refuse_what_they_do_not_know() -> None:
    with pytest.raises((ConfigurationError, ValueError)):
        StudySettings.model_validate({"data": {"colour": "red"}})


def test_a_study_without_measures_is_what_it_was_before_there_were_some() -> None:
    plain, more = StudySettings(), StudySettings.model_validate({"measuring": {"measures": ["sam", "layers"]}})
    assert "measuring" not in plain.configuration()
    assert more.configuration()["measuring"] == {"measures": ["layers", "sam"], "null_planes": "auto"}
    assert plain.digest() != more.digest()


def test_the_topology_of_surfaces_needs_surfaces() -> None:
    with pytest.raises(ConfigurationError, match="`measures` topology is of surfaces, and none is computed"):
        StudySettings.model_validate({"measuring": {"measures": ["topology"]}})
    given = {"measuring": {"measures": ["sam", "topology"]}, "surfaces": {"slice_2d": True}}
    assert StudySettings.model_validate(given).measuring.of_minima == ("sam",)
    every = StudySettings.model_validate({"measuring": {"measures": ["all"]}}).measuring
    assert len(every.of_minima) == 8
    assert every.topology
