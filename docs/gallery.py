"""Makes the pictures of `docs/gallery.md` by running that page: `python docs/gallery.py`, some ten minutes on two cores.

Commands and lines are those of the page, so that what is shown is what they make. Runs lie in a folder that stays, and are gone
on with.
"""

import argparse
import contextlib
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests" / "docs"))

from pages import run

ROOT = Path(__file__).parents[1]
PAGE, IMAGES = ROOT / "docs" / "gallery.md", ROOT / "docs" / "images" / "gallery"


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--folder", type=Path, default=ROOT / "runs" / "gallery", help="where its runs and pictures are made")
    folder = options.parse_args(arguments).folder
    folder.mkdir(parents=True, exist_ok=True)
    IMAGES.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(folder):
        run(PAGE)
        for picture in sorted(Path().glob("*.png")):
            shutil.copyfile(picture, IMAGES / picture)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
