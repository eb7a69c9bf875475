"""The pieces that run where there is a CUDA device, here with commands that need none."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

import gpu

OLD = "# Benchmarks\n\nOld.\n\n<!-- gpu.py -->\nold\n<!-- end -->\n\nAfter.\n"


def there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Made Up 100")


def test_without_a_device_one_sentence_is_said_and_nothing_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a device")
    page = tmp_path / "page.md"
    page.write_text(OLD)
    assert gpu.main(["--folder", str(tmp_path / "build")], page=page) == 0
    assert capsys.readouterr().out.count(".") == 2  # of the page's name and of the sentence
    assert page.read_text() == OLD
    assert not (tmp_path / "build").exists()


def test_pieces_are_run_once_and_their_tables_stand_under_the_device_s_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there(monkeypatch)
    count = "import pathlib; p = pathlib.Path(r'{page}'); p.write_text('## Found\\n\\n| 7 |\\n')"
    pieces = [
        gpu.Piece("one", "The first", ("-c", count), 0.5),
        gpu.Piece("two", "The second", ("-c", "raise SystemExit(3)"), 0.5),
        gpu.Piece("long", "The last", ("-c", "pass"), 600),
    ]
    page = tmp_path / "page.md"
    page.write_text(OLD)
    call = ["--folder", str(tmp_path / "build"), "--minutes", "2"]
    assert gpu.main(call, pieces, page) == 1  # one failed
    assert "left for the next call: long." in capsys.readouterr().out
    assert page.read_text() == OLD
    assert gpu.main([*call, "--write"], pieces, page) == 1
    assert "exit code" not in capsys.readouterr().out  # nothing is run again
    text = page.read_text()
    assert "## On a Made Up 100" in text
    assert "### Found\n\n| 7 |" in text
    assert "| The first | done |" in text
    assert "| The second | FAILED |" in text
    assert text.startswith("# Benchmarks\n\nOld.")
    assert text.endswith("<!-- end -->\n\nAfter.\n")
    assert "\nold\n" not in text


def test_a_sweep_that_was_stopped_goes_on_in_the_next_call_and_a_table_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there(monkeypatch)
    calls = []

    def run(words: list[str], **given: Any) -> subprocess.CompletedProcess:
        calls.append(words[1])
        if len(calls) < 3:
            raise subprocess.TimeoutExpired(words, given["timeout"])
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(subprocess, "run", run)
    pieces = [gpu.Piece("sweep", "A sweep", ("sweep",), 5, goes_on=True), gpu.Piece("table", "A table", ("table",), 5)]
    page = tmp_path / "page.md"
    page.write_text(OLD)
    assert gpu.main(["--folder", str(tmp_path / "build")], pieces, page) == 1
    assert gpu.main(["--folder", str(tmp_path / "build")], pieces, page) == 1
    assert calls == ["sweep", "table", "sweep"]
    assert "| A sweep | done |" in page.read_text()
    assert "| A table | FAILED |" in page.read_text()


def test_full_size_on_a_processor_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        gpu.main(["--folder", str(tmp_path), "--device", "cpu"])
    assert ended.value.code == 2
    assert "--toy" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_every_piece_ends_well_on_almost_nothing_and_its_table_is_on_the_page(tmp_path: Path) -> None:
    before = gpu.PAGE.read_text(encoding="utf-8")
    assert gpu.main(["--toy", "--device", "cpu", "--folder", str(tmp_path)]) == 0
    assert gpu.PAGE.read_text(encoding="utf-8") == before
    page = (tmp_path / "CPU-toy" / "page.md").read_text(encoding="utf-8")
    done = re.findall(r"^\| (.*) \| done \| \d+ s \|$", page, re.MULTILINE)
    assert done == [piece.title for piece in gpu.PIECES]
    with_tables = [piece for piece in gpu.PIECES if "{page}" in piece.words]
    assert page.count("\n### ") == len(with_tables)
    for piece in with_tables:
        table = (tmp_path / "CPU-toy" / f"{piece.name}.md").read_text(encoding="utf-8").partition("\n")[0]
        assert f"#{table}\n" in page
    for name in ("curvlinops", "hessian-eigenthings", "PyHessian"):  # there, or said to be missing
        assert re.search(rf"^\| {name}(: not installed: .* \| – \||.* \| [0-9.]+ m?s \|)", page, re.MULTILINE)
    assert re.search(r"verified residuals in units of the stated ones.*\) met\.", page)
    assert "the verified residual, relative: 0.0" in page
    assert (tmp_path / "CPU-toy" / "previous" / "test_data").is_dir()
