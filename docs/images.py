"""Makes the pictures of the documentation anew, runs included: `python docs/images.py`, about a quarter of an hour on
two cores.

The sweep of the tutorial, a sweep in both directions, a study and a made-up run of 501 points; what `report` shows of
them, photographed by Debian's chromium at the widths of a desktop and of a phone, in both themes; and the pictures of
the examples.
"""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
IMAGES, RUNS = ROOT / "docs" / "images", ROOT / "runs"
DEMO = "sweep --dataset mnist-5k --points 11 --min 0.001 --max 0.05 --spacing log --end train --out runs/demo"
BOTH = "sweep --dataset mnist-5k --points 8 --min 0.005 --max 0.05 --direction both --k 12 --end train --out runs/both"
STUDY = (
    "study --dataset mnist-5k --model MLP2 --hidden-size 16,64,256 --optimizer SGD,AdamW --activation gelu --num-seeds 2 "
    "--epochs 15 --fast --plot --2d-slice --paths linear,bezier,aligned --path-epochs 3 --out runs/widths"
)
VIEWS = {  # width, height, colour scheme
    "desktop": (1280, 1400, "light"),
    "desktop-dark": (1280, 1400, "dark"),
    "phone": (390, 1100, "light"),
    "phone-dark": (390, 1100, "dark"),
}


def main() -> None:
    """Everything. Runs that are there are gone on with, not made again."""
    for command in (DEMO, BOTH, STUDY):
        orograph(command)
    long = RUNS / "long"
    if not long.exists():
        sys.path.append(str(ROOT / "tests"))
        import made_up_sweep

        made_up_sweep.write(long, 501)
    for name in ("demo", "both"):
        orograph(f"analyze runs/{name}")
    shutil.copy(RUNS / "demo" / "figures" / "sweep.png", IMAGES / "sweep.png")
    for name in ("demo", "both", "widths", "long"):
        orograph(f"report runs/{name}")
        screenshots(RUNS / name / "report.html", name)
    for example in sorted((ROOT / "examples").glob("*.py")):
        subprocess.run([sys.executable, str(example), str(IMAGES)], check=True)
    for vector in IMAGES.glob("*.pdf"):
        vector.unlink()


def orograph(command: str) -> None:
    """One command, as a user gives it."""
    subprocess.run([sys.executable, "-m", "orograph", *shlex.split(command)], check=True, cwd=ROOT)


def screenshots(report: Path, name: str) -> None:
    """The top of a report at each width and theme, its figures drawn."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for view, (width, height, scheme) in VIEWS.items():
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
            page.goto(report.resolve().as_uri())
            page.wait_for_function("document.documentElement.dataset.ready")
            page.wait_for_timeout(3000)  # whatever is in view
            page.screenshot(path=IMAGES / f"report-{name}-{view}.png")
        browser.close()


if __name__ == "__main__":
    main()
