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
@pytest.mark.usefixtures("few_images", "own_state")
@pytest.mark.parametrize("page", QUICK, ids=lambda page: page.stem)
def test_every_block_of_a_page_runs(page: Path, demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(demo)
    run(page)


@pytest.mark.slow
@pytest.mark.usefixtures("own_state")
@pytest.mark.parametrize("name", ["tutorial", "study"])
def test_pages_that_make_their_own_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fewer = {"11": "3", "16,64": "16", "mnist-5k": "digits --subset-size 300"}  # points of a sweep, widths of a study, images
    run(DOCS / f"{name}.md", fewer)
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
