"""The documentation, word for word: every code block runs, on fewer images, every link and picture exists, every page is in the
site's menu.

Independent of the code: the blocks are read from the pages themselves.
"""

import re
from pathlib import Path

import pytest
import yaml
from pages import DOCS, blocks, run

from orograph.cli import main

# What takes fewer points, images, networks, pairs or random vectors.
QUICKLY = "--probes 3 --images 2 --path-steps 0 --resamples 19 --lowest-products 60 --response-products 60"
FEWER = {
    "alignment": {"range(300)": "range(50)"},
    "analyze": {"analyze runs/demo": f"analyze runs/demo {QUICKLY}"},
    "branches": {"--epochs 60": "--epochs 20", "runs/few --points 12": "runs/few --points 5", "--points 8": "--points 4"},
    "class-curvature": {"range(300)": "range(50)"},
    "cluster": {"--k 5 --epochs 5": "--k 2 --epochs 2"},
    "escapes": {"--chains 8": "--chains 3", "--steps 400": "--steps 100"},
    "experiments": {
        "path_steps=0, quiet=True": "path_steps=0, probes=3, resamples=19, lowest_products=60, response_products=60, quiet=True",
        "k=3, epochs=5": "k=2, epochs=2",
    },
    "gallery": {
        "--widths 16,16 --points 17": "--widths 8,8 --points 3",
        "--k 12 --epochs 40": "--k 4 --epochs 5",
        "analyze runs/loop": f"analyze runs/loop {QUICKLY}",
        "widths=[16, 16]": "widths=[8, 8]",
        "--widths 16,16 --paths linear,bezier,aligned": "--widths 8,8 --paths linear,aligned",
        "--hidden-size 4,8,16": "--subset-size 200 --hidden-size 2,4",
        "--lr 0.05,0.2 --num-seeds 3 --epochs 25": "--lr 0.2 --num-seeds 3 --epochs 2 --slice-points 5",
        "--path-epochs 4 --instability 0,1,4": "--path-epochs 1 --instability 0,1",
        "points=31": "points=5",
        "--points 40": "--points 8",
        "--descents 1": "--descents 0",
        "--at 0.112,0.114,0.116": "--at 0.114,0.116",
        "--chains 16": "--chains 3",
        "--steps 2000": "--steps 100",
    },
    "lambda-max": {"range(1, 61)": "range(1, 21)"},
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
    "own-network": {
        "--points 8": "--points 2",
        "--spacing log --k 6": "--spacing log --k 2 --epochs 5",
        "analyze runs/rings": f"analyze runs/rings {QUICKLY}",
        "k=6, quiet=True": "k=2, epochs=5, quiet=True",
    },
    "path": {"range(300)": "range(50)", "epochs=100": "epochs=2", "steps=200": "steps=20"},
    "sharpness": {"range(300)": "range(50)"},
    "study": {"16,64": "4", "h16-AdamW": "h4-AdamW", "mnist-5k": "digits --subset-size 300", "--epochs 3": "--epochs 1"},
    "sweep": {"--k 4": "--k 2", "--epochs 10": "--epochs 5"},
    "surface": {"range(300)": "range(50)", "points=15": "points=5", "points=31": "points=5"},
    "track": {"range(40)": "range(10)"},
    "tutorial": {
        "--points 11": "--points 3",
        "mnist-5k": "digits --subset-size 300",
        "--model CNN --points 3": "--model CNN --subset-size 200 --points 2",
        "analyze runs/demo": f"analyze runs/demo {QUICKLY}",
    },
}
PAGES = sorted(page for page in DOCS.rglob("*.md"))
BUSY = [page for page in PAGES if any(block.kind in ("python", "sh") for block in blocks(page))]
QUICK = [page for page in BUSY if page.name not in ("tutorial.md", "study.md")]


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
    run(page, {} if page.parent.name == "reference" else FEWER.get(page.stem, {}))


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
