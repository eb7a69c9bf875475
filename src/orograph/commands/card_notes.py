"""What the card of a sweep or a study says beside its settings and files: its fields, how to check it, licence, how to cite."""

from collections.abc import Callable

from orograph.commands.checksums import FILE as SUMS
from orograph.errors import OrographError
from orograph.store.dataset import open_sweep
from orograph.store.run import Run

_SOFTWARE = "Orograph: measuring and mapping the loss landscapes of neural networks"
# What is said of the images themselves by who gives them out; the notice beside the embedded ones names the sources.
_IMAGES = {
    "mnist": "those of MNIST are usually given out under CC BY-SA 3.0",
    "mnist-5k": "those of MNIST are usually given out under CC BY-SA 3.0",
    "digits": "the digits of the UCI Machine Learning Repository are under CC BY 4.0",
}


def fields(run: Run, escaped: Callable[[str], str]) -> str:
    """A table of all that a sweep holds, by name, dimensions, type and unit; empty of a study, whose tables name theirs."""
    if run.kind != "sweep":
        return ""
    try:
        ds = open_sweep(run)
    except OrographError:  # of a run that somebody else wrote
        return ""
    rows = []
    for name, each in {**ds.coords, **ds.data_vars}.items():
        axes = ", ".join(str(dim) for dim in each.dims if str(dim) not in ("seed", "direction", "strength") or name in ds.coords)
        unit = str(each.attrs.get("units", "1"))
        kind = {"O": "text", "U": "text"}.get(each.dtype.kind, str(each.dtype))
        told = escaped(str(each.attrs.get("long_name", name)))
        rows.append(
            f"| `{escaped(str(name))}` | {escaped(axes) or '–'} | {kind} | {escaped(unit) if unit != '1' else '–'} | {told} |"
        )
    sizes = ", ".join(f"{escaped(str(name))} {size:,}" for name, size in ds.sizes.items())
    intro = (
        f"What `open_run` gives, of dimensions {sizes}. All but the first rows go by seed, direction and strength besides "
        "what is listed. Parameters are flattened in the order of `named_parameters()`. Where there is no value, it is NaN. "
        "Whether something holds is 1 or 0. Without a unit: numbers, and lengths in the space of parameters; eigenvalues are "
        "second derivatives of the loss."
    )
    return "\n".join(["## Fields", "", intro, "", "| name | by | type | unit | what |", "|---|---|---|---|---|", *rows])


def checking(run: Run) -> str:
    """How a stranger finds out that the files are whole, and that they are true."""
    lines = [
        "## Checking",
        "",
        f"`sha256sum --check --quiet {SUMS}` says nothing where every file is as it was when this card was written.",
    ]
    if run.kind == "sweep":
        lines += [
            "",
            "`orograph import THIS-FOLDER --out CHECKED` believes nothing: it measures losses, metrics and gradients again at "
            "the recorded weights, multiplies every recorded eigenvector with the Hessian in float64, and tells the largest "
            "differences. It needs the data, which are not in this folder.",
        ]
    return "\n".join(lines)


def licence(run: Run, name: str, escaped: Callable[[str], str]) -> str:
    """Under which licence the folder is, and what that does not cover."""
    said = (
        f"This folder is shared under {escaped(name)}."
        if name != "unknown"
        else "Nobody has said yet under which licence this folder is shared: ask who shares it."
    )
    table = run.configuration.get("data")
    images = _IMAGES.get(str(table.get("dataset"))) if isinstance(table, dict) else None
    rest = f": {images}" if images else ""
    return (
        f"## Licence\n\n{said} The data that the networks were trained on are not in it, and have a licence of their own{rest}."
    )


def citing(run: Run, escaped: Callable[[str], str]) -> str:
    """What to cite: the program, and which run this is."""
    recorded = run.provenance.get("versions")
    version = str(recorded.get("orograph", "")) if isinstance(recorded, dict) else ""
    number = "".join(letter for letter in version if letter.isalnum() or letter in ".+-")
    known = [f"`{run.identity}`, the identity in `run.json`"] if run.identity else []
    which = " and ".join([*known, f"the SHA-256 of `{SUMS}`"])
    entry = [
        "@software{orograph,",
        f"  title = {{{_SOFTWARE}}},",
        "  author = {{The Orograph authors}},",
        *([f"  version = {{{number}}}"] if number else []),
        "}",
    ]
    named = escaped(run.path.resolve().name)
    text = f"Name this run, {named}, with {which}, which tell it from others; and the program that made it:"
    return "\n".join(["## Citing", "", text, "", "```bibtex", *entry, "```"])
