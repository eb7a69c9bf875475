"""What a user waits for: `--help` of each command, and the first figure of a report of 501 points in a browser.

    .venv/bin/python benchmarks/waiting.py --markdown docs/benchmarks.md

`--help` is a whole process, from its start to its end. The figure is timed by the page itself, from the beginning of its
navigation to the frame in which the first figure was painted, in a new browser each round (Debian's chromium).
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from quiet import Watch, require_quiet
from report import Report, Table, parser, seconds, verdict

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import made_up_sweep

COMMANDS = ("", "sweep", "study", "measure", "analyze", "report")
CHROMIUM = "/usr/bin/chromium"
POINTS = 501


def main() -> None:
    """Times both, some rounds each."""
    options = parser("Waiting times.", rounds=5)
    chosen = options.parse_args()
    quiet = require_quiet(force=chosen.force)
    report, watch = Report("Waiting"), Watch()
    table = Table(f"{chosen.rounds} rounds each", ("", "minimum", "median"))
    slowest = 0.0
    for command in COMMANDS:
        times = [helped(command) for _ in range(chosen.rounds)]
        slowest = max(slowest, min(times))
        table.row(
            " ".join(("orograph", command, "--help")).replace("  ", " "), seconds(min(times)), seconds(statistics.median(times))
        )
        watch.pause()
    with tempfile.TemporaryDirectory(prefix="orograph-benchmark-") as folder:
        run = Path(folder) / "run"
        made_up_sweep.write(run, POINTS)
        subprocess.run([sys.executable, "-m", "orograph", "report", str(run), "--quiet"], check=True)
        page = run / "report.html"
        painted = [first_figure(page) for _ in range(chosen.rounds)]
        size = page.stat().st_size / 1e6
    watch.pause()
    name = f"first figure of a report of {POINTS} points, {size:.1f} MB"
    table.row(name, seconds(min(painted)), seconds(statistics.median(painted)))
    report.add(table)
    report.say(verdict("the slowest --help", slowest, 0.5, at_least=False, unit=" s"))
    report.say(verdict("the first figure", statistics.median(painted), 2.0, at_least=False, unit=" s"))
    report.finish(chosen, watch, quiet=quiet)


def helped(command: str) -> float:
    began = time.perf_counter()
    words = [sys.executable, "-m", "orograph", *command.split(), "--help"]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def first_figure(page: Path) -> float:
    """Seconds until it was painted."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": 1280, "height": 900})
        view.goto(page.resolve().as_uri())
        view.wait_for_function("document.documentElement.dataset.painted")
        painted = float(view.evaluate("document.documentElement.dataset.painted"))
        browser.close()
    return painted / 1000


if __name__ == "__main__":
    main()
