"""How the command behaves towards a shell: help without heavy imports, completion, no colour, `python -m`, the doctor."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orograph.cli import COMMANDS, main


def python(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, env=env, check=False)


@pytest.mark.slow
def test_the_help_of_no_command_imports_what_is_slow() -> None:
    code = """
import sys
from orograph.cli import COMMANDS, main
for name in COMMANDS:
    try:
        main([name, "--help"])
    except SystemExit:
        pass
slow = {"torch", "xarray", "zarr", "matplotlib", "pandas", "scipy", "pyarrow", "plotly"} & set(sys.modules)
sys.exit(f"imported {slow}" if slow else 0)
"""
    done = python("-c", code)
    assert done.returncode == 0, done.stderr


def test_it_runs_as_a_module() -> None:
    done = python("-m", "orograph", "--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)


def test_a_shell_can_read_the_completion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["completion", "bash"])
    assert stop.value.code in (0, None)
    script = capsys.readouterr().out
    assert all(name in script for name in COMMANDS)
    assert "--points" in script
    file = tmp_path / "completion.sh"
    file.write_text(script)
    subprocess.run(["bash", "-n", str(file)], check=True)


def test_an_unknown_shell_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zhs"]) == 2
    assert "'zsh'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("args", [("sweep", "--help"), ("sweep", "--pionts", "3"), ("doctor",)])
def test_no_color_is_heeded(args: tuple[str, ...]) -> None:
    done = python("-m", "orograph", *args, NO_COLOR="1", FORCE_COLOR="", TERM="xterm-256color")
    assert "\x1b[3" not in done.stdout + done.stderr
    assert "\x1b[9" not in done.stdout + done.stderr


def test_the_doctor_tells_versions_threads_and_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--data-dir", str(tmp_path / "absent")]) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ("torch", "threads", "digits", "embedded", "does not exist"))
