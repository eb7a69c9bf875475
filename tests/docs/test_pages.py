"""The documentation, word for word: every code block runs, on fewer images, every link and picture exists, every page is in the
site's menu.

Independent of the code: the blocks are read from the pages themselves.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pages import DOCS, blocks, run

from orograph.cli import main

# What takes fewer points, images, networks, pairs or random vectors.
QUICKLY = "--probes 3 --images 2 --path-steps 0 --resamples 19 --lowest-products 60 --response-products 60"
FEWER = {
    "analyze": {"analyze runs/demo": f"analyze runs/demo {QUICKLY}"},
    "branches": {"--epochs 60": "--epochs 20", "runs/few --points 12": "runs/few --points 5", "--points 8": "--points 4"},
    "cluster": {"--k 5 --epochs 5": "--k 2 --epochs 2"},
    "escapes": {"--chains 8": "--chains 3", "--steps 400": "--steps 100"},
    "anchor-sweeps": {"--points 5": "--points 2", "--k 5 --epochs 5": "--k 2 --epochs 2"},
    "my-experiment": {
        "0.0003,0.001,0.003 --k 5": "0.001,0.003 --k 2 --epochs 3",
        "[0.0003, 0.001, 0.003], k=5": "[0.001, 0.003], k=2, epochs=3",
        "analyze runs/mine": f"analyze runs/mine {QUICKLY}",
        "og.analyze(run)": "og.analyze(run, probes=3, images=2, path_steps=0, resamples=19)",
        "path_steps=0, quiet=True": "path_steps=0, probes=3, resamples=19, lowest_products=60, response_products=60, quiet=True",
        "points=3": "points=2",
        "epochs=5, k=5": "epochs=1, k=2",
        '"0.00030", "0.00300"': '"0.00100", "0.00300"',
    },
    "study": {"16,64": "4", "h16-AdamW": "h4-AdamW", "mnist-5k": "digits --subset-size 300", "--epochs 3": "--epochs 1"},
    "sweep": {"--k 4": "--k 2", "--epochs 10": "--epochs 5"},
    "track": {"range(40)": "range(10)"},
    "tutorial": {
        "--points 11": "--points 3",
        "mnist-5k": "digits --subset-size 300",
        "analyze runs/demo": f"analyze runs/demo {QUICKLY}",
    },
}
PAGES = sorted(page for page in DOCS.rglob("*.md"))
QUICK = [page for page in PAGES if page.name not in ("tutorial.md", "study.md") and blocks(page)]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small sweep where the pages have the demo's, and another gone both ways."""
    folder = tmp_path_factory.mktemp("pages")
    small = "--dataset digits --widths 8,8 --k 4 --epochs 3 --quiet"
    ladder = "--strengths 0.001,0.002,0.004"
    assert main([*f"sweep {small} {ladder} --out".split(), str(folder / "runs/demo")]) == 0
    assert main([*f"sweep {small} {ladder} --direction both --out".split(), str(folder / "runs/both")]) == 0
    return folder


@pytest.fixture(autouse=True)
def _job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")


@pytest.mark.slow
@pytest.mark.usefixtures("own_state")
@pytest.mark.parametrize("page", QUICK, ids=lambda page: page.stem)
def test_every_block_of_a_page_runs(page: Path, demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(demo)
    run(page, FEWER.get(page.stem, {}))


@pytest.mark.slow
@pytest.mark.usefixtures("own_state")
@pytest.mark.parametrize("name", ["tutorial", "study"])
def test_pages_that_make_their_own_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(DOCS / f"{name}.md", FEWER[name])
    if name == "tutorial":
        for made in ("runs/demo/figures/sweep.png", "runs/demo/report.html", "eigenvalues.png", "first.json", "first.png"):
            assert (tmp_path / made).stat().st_size > 0


@pytest.mark.parametrize("page", [*PAGES, DOCS.parent / "README.md"], ids=lambda page: page.stem)
def test_links_and_pictures_exist(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)|src=\"([^\"]+)\"", text)
    for target in filter(None, (name for pair in targets for name in pair)):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_every_page_is_in_the_menu() -> None:
    menu = yaml.safe_load((DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    named = set(re.findall(r"[\w/-]+\.md", str(menu)))
    assert named == {page.relative_to(DOCS).as_posix() for page in PAGES}


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # an advertisement
    done = subprocess.run(build, cwd=DOCS.parent, capture_output=True, text=True, timeout=600, check=False, env=quiet)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert "HessianOperator" in (tmp_path / "site/reference/curvature.html").read_text(encoding="utf-8")
