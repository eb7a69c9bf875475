"""Whether what would be released installs and works: `make release-check`.

    python scripts/release_check.py [--python 3.12 …] [--lowest] [--folder FOLDER]

A wheel and an sdist are built twice, from copies of the sources, under another umask, time zone and hash seed; the second wheel
is built from the sdist. Files of one name must have the same bytes; they are left in dist/. For each Python that is found, the
wheel alone is installed into an empty environment, and the steps of `smoke.py` are run there, outside the checkout, which takes
less than five minutes of a quiet machine. The sdist is installed once, and pyright tells how many types it knows. `--lowest`
installs the wheel with the lowest versions that pyproject.toml states, too, as uv resolves them.

Prints a table; the exit code is 1 where something did not do as it should. What pip reads from its environment holds here, too:
with `PIP_CONSTRAINT=$PWD/constraints.txt` the pinned versions are installed.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from smoke import SHORT, STEPS, Step

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
TOOLS = ("build", "hatchling", "pyright[nodejs]", "uv")
TYPED = 0.95  # the least share of names whose types are known to pyright
PYTHON = "bin/python"
LIMIT = 3600  # seconds, after which a command is not waited for


class Row(NamedTuple):
    """A line of the table; `good` is None where it was skipped."""

    where: str
    what: str
    good: bool | None
    seconds: float = 0
    said: str = ""


def main(args: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", nargs="+", default=PYTHONS, metavar="3.X", help="of these Pythons those that are found")
    parser.add_argument("--lowest", action="store_true", help="the lowest stated versions, too, on the first Python")
    parser.add_argument("--folder", type=Path, help="where to work, outside the checkout, to be kept; else a temporary folder")
    asked = parser.parse_args(args)
    rows = []
    with working_folder(asked.folder) as folder:
        for row in checked(folder, asked.python, asked.lowest):
            rows.append(row)
            verdict = {True: "ok", False: "FAILED", None: "skipped"}[row.good]
            print(f"{row.where:<12} {row.what[:50]:<50} {verdict:<7} {row.seconds:6.1f} s  {row.said}", flush=True)
    failed = sum(row.good is False for row in rows)
    print(f"{failed} of {len(rows)} failed." if failed else f"All {sum(bool(row.good) for row in rows)} did as they should.")
    return int(failed > 0)


@contextlib.contextmanager
def working_folder(given: Path | None) -> Iterator[Path]:
    """The folder that was named, or one that is gone afterwards."""
    with contextlib.ExitStack() as stack:
        folder = Path(given or stack.enter_context(tempfile.TemporaryDirectory(prefix="orograph-release-"))).resolve()
        if folder.is_relative_to(ROOT):
            raise SystemExit(f"{folder} lies in the checkout; name a folder outside it.")
        folder.mkdir(parents=True, exist_ok=True)
        yield folder


def checked(folder: Path, pythons: Sequence[str], lowest: bool) -> Iterator[Row]:
    """All rows of the table, each once it is known."""
    tools, row = environment(folder / "tools", "build", sys.executable, TOOLS)
    yield row
    if not row.good:
        return
    yield (row := built(folder, tools))
    if not row.good:
        return
    (wheel,), (sdist,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    here = {version: path for version in pythons if (path := interpreter(version))}
    for version in pythons:
        if version in here:
            yield from smoked(folder, version, here[version], wheel, STEPS)
        else:
            yield Row(version, "no such Python is found here", None)
    if not here:
        yield Row("any", "a Python to install into", False)
        return
    first, python = next(iter(here.items()))
    yield typed(folder / environment_of(first), tools)
    yield from smoked(folder, f"{first} sdist", python, sdist, SHORT)
    if lowest:
        versions = folder / "lowest.txt"
        resolve = ["pip", "compile", "--quiet", "--resolution=lowest-direct", f"--python={python}", f"--output-file={versions}"]
        yield ran("lowest", "versions resolved", [tools, "-m", "uv", *resolve, ROOT / "pyproject.toml"], folder)
        yield from smoked(folder, f"{first} lowest", python, wheel, STEPS, {"PIP_CONSTRAINT": str(versions)})


def built(folder: Path, tools: Path) -> Row:
    """Builds everything twice, and leaves it in dist/ where all bytes are the same."""
    committed = ["git", "log", "-1", "--format=%ct"]
    epoch = subprocess.run(committed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    # With both flags the wheel is built from the sources, with none from the sdist.
    ways = [(["--sdist", "--wheel"], 0o022, {}), ([], 0o077, {"TZ": "Pacific/Chatham", "PYTHONHASHSEED": "1"})]
    outs, seconds = [folder / f"dist-{number}" for number in range(len(ways))], 0.0
    for number, (flags, umask, other) in enumerate(ways):
        copy_sources(folder / f"source-{number}")
        words = [tools, "-m", "build", "--no-isolation", *flags, "--outdir", outs[number]]
        row = ran("build", "", words, folder / f"source-{number}", {"SOURCE_DATE_EPOCH": epoch, **other}, umask=umask)
        seconds += row.seconds
        if not row.good:
            return row
    sums = [{path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.iterdir())} for out in outs]
    if sums[0] != sums[1]:
        return Row("build", "the same bytes twice", False, seconds, f"{sums[0]} and {sums[1]}")
    shutil.rmtree(DIST, ignore_errors=True)
    shutil.copytree(outs[0], DIST)
    return Row(
        "build", "the same bytes twice", True, seconds, ", ".join(f"{name} {digest[:12]}" for name, digest in sums[0].items())
    )


def copy_sources(to: Path) -> None:
    """What git knows or does not ignore, as it is now."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, to / name)


def interpreter(version: str) -> str | None:
    """The path of a Python that is there and is what its name says, which shims of version managers may not be."""
    path = shutil.which(f"python{version}")
    say = "import sys; print(sys.executable, *sys.version_info[:2])"
    for candidate in filter(None, [path, *map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))]):
        done = subprocess.run([candidate, "-c", say], capture_output=True, text=True, check=False)
        found, *numbers = done.stdout.split() or [""]
        if ".".join(numbers) == version:
            return found
    return None


def typed(installed: Path, tools: Path) -> Row:
    """Whether the types of what is installed are complete."""
    begun = time.monotonic()
    words = [tools, "-m", "pyright", "--verifytypes", "orograph", "--ignoreexternal", "--outputjson"]
    # Where --pythonpath is given, pyright 1.1.414 finds no package to verify; that of the first Python in PATH it finds.
    found = {**apart(), "PATH": os.pathsep.join([str((installed / PYTHON).parent), os.environ["PATH"]])}
    done = subprocess.run(words, cwd=installed, env=found, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - begun
    try:
        told = json.loads(done.stdout)
        score, errors = told["typeCompleteness"]["completenessScore"], told["generalDiagnostics"]
    except (ValueError, KeyError):
        return Row("types", "pyright --verifytypes", False, seconds, (done.stdout + done.stderr).strip()[-300:])
    said = ", ".join([f"{score:.1%}, at least {TYPED:.0%}", *(error["message"] for error in errors)])
    return Row("types", "pyright --verifytypes", score >= TYPED, seconds, said)


def environment_of(where: str) -> str:
    """The name of the environment of a row."""
    return f"env-{where.replace(' ', '-')}"


def smoked(
    folder: Path, where: str, python: str, package: Path, steps: Sequence[Step], variables: Mapping[str, str] | None = None
) -> Iterator[Row]:
    """Installs a package into an empty environment, and runs the steps in a folder of their own."""
    there, row = environment(folder / environment_of(where), where, python, [str(package)], variables)
    yield row
    if not row.good:
        return
    work = folder / f"work-{where}"
    work.mkdir(exist_ok=True)
    for step in steps:
        yield ran(where, step.name, [there, *step.words], work, says=step.says, code=step.code)


def environment(
    folder: Path, where: str, python: str, packages: Sequence[str], variables: Mapping[str, str] | None = None
) -> tuple[Path, Row]:
    """A new environment that holds these packages and what they need; the Python in it, and how it went."""
    subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
    inside = folder / PYTHON
    words = [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    row = ran(where, f"install {' '.join(Path(each).name for each in packages)}", words, folder, variables)
    return inside, row


def apart() -> dict[str, str]:
    """The environment with nothing of this checkout in it."""
    ours = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {**{name: value for name, value in os.environ.items() if name not in ours}, "PYTHONNOUSERSITE": "1"}


def ran(
    where: str,
    what: str,
    words: Sequence[str | Path],
    folder: Path,
    variables: Mapping[str, str] | None = None,
    *,
    says: str = "",
    code: int = 0,
    umask: int = -1,
) -> Row:
    """Runs a command in a folder, apart from this checkout."""
    begun = time.monotonic()
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            env={**apart(), **(variables or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
            umask=umask,
        )
    except subprocess.TimeoutExpired:
        return Row(where, what, False, time.monotonic() - begun, f"not done after {LIMIT} s")
    good = done.returncode == code and says in done.stdout
    said = "" if good else f"exit code {done.returncode}: " + " | ".join(done.stdout.strip().splitlines()[-8:])
    return Row(where, what, good, time.monotonic() - begun, said)


if __name__ == "__main__":
    sys.exit(main())
