"""What people write themselves, by name: `module:function`, or `path/to/file.py:function`, and the digest of where it stands.

The working directory is looked in, too. A file is imported under its own stem, so that workers that import it again by that name
find the same objects.
"""

import ast
import contextlib
import functools
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from orograph.errors import ConfigurationError, DataError, OrographError

MOST_BYTES = 2**24  # of a source file


def imported(argument: str, path: str) -> Any:
    """The object that `module:name` or `file.py:name` means.

    Args:
        argument: that named it, for messages.
        path: as above.

    Returns:
        The object.

    Raises:
        ConfigurationError: there is no such module, file or name.
        DataError: importing the module fails.
    """
    module_name, _, name = path.rpartition(":")
    module = _module(argument, path, module_name)
    if not callable(getattr(module, name, None)):
        raise ConfigurationError(f"`{argument}` {path}: module {module_name} has no function '{name}'.")
    return getattr(module, name)


def _module(argument: str, path: str, name: str) -> ModuleType:
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        if name.endswith(".py"):
            return _of_file(argument, path, Path(name))
        return importlib.import_module(name)
    except OrographError:
        raise
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"`{argument}` {path}: no module named '{error.name}'; run where it can be imported, or name its file, FILE.py:NAME."
        ) from None
    except (Exception, SystemExit) as error:  # whatever the user's module raises
        raise DataError(
            f"`{argument}` {path}: importing {name} failed with {type(error).__name__}: {first_line(error)}."
        ) from error


def _of_file(argument: str, path: str, file: Path) -> ModuleType:
    """A file as a module, made once: what it defines is the same object wherever it is named."""
    if not file.is_file():
        raise ConfigurationError(f"`{argument}` {path}: there is no file {file}.")
    whole = str(file.resolve())
    known = sys.modules.get(file.stem)
    if known is not None and getattr(known, "__file__", None) == whole:
        return known
    name = file.stem if known is None else f"{file.stem}_{hashlib.sha256(whole.encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    specification = importlib.util.spec_from_file_location(name, whole)
    if specification is None or specification.loader is None:
        raise ConfigurationError(f"`{argument}` {path}: {file} is no Python file.")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    folder = str(file.resolve().parent)
    if folder not in sys.path:  # what stands beside it can be imported by it
        sys.path.append(folder)
    try:
        specification.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def called(argument: str, path: str, function: Callable[..., Any], offered: Mapping[str, Any] | None = None) -> Any:
    """What a function of one's own gives, called with those of the offered arguments that it asks for.

    Args:
        argument: that named it, for messages.
        path: by which it was named.
        function: to be called.
        offered: keyword arguments by name; what it does not name is not given.

    Returns:
        What it returns.

    Raises:
        ConfigurationError: it is no function of one's own, or needs an argument that nobody offers.
        DataError: calling it fails.
    """
    offered = offered or {}
    require_own(argument, path, function)
    asked: Mapping[str, inspect.Parameter] = {}
    with contextlib.suppress(ValueError):  # without a signature; called as it is
        asked = inspect.signature(function).parameters
    takes_all = any(each.kind is each.VAR_KEYWORD for each in asked.values())
    given = {name: value for name, value in offered.items() if takes_all or name in asked}
    try:
        inspect.signature(function).bind(**given)
    except ValueError:
        pass
    except TypeError as error:
        names = f" but {', '.join(offered)}" if offered else ""
        raise ConfigurationError(f"`{argument}` {path} must be callable without arguments{names}: {error}.") from None
    try:
        return function(**given)
    except OrographError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's function raises
        raise DataError(f"`{argument}` {path} failed with {type(error).__name__}: {first_line(error)}.") from error


def require_own(argument: str, path: str, function: Callable[..., Any]) -> None:
    """Refuses what comes with Python: `os:system` is a function too, and nothing of it is to be called.

    Raises:
        ConfigurationError: it does.
    """
    if _comes_with_python(function):
        raise ConfigurationError(f"`{argument}` {path} is no function of your own; name one that is.")


def _comes_with_python(function: Any) -> bool:
    inner = function.func if isinstance(function, functools.partial) else function
    return inspect.isbuiltin(inner) or (getattr(inner, "__module__", "") or "").partition(".")[0] in sys.stdlib_module_names


def takes(function: Any, count: int) -> bool:
    """Whether this is a Python function that so many arguments can be given to and that needs no other.

    Args:
        function: whatever was named; what is built in shows no signature.
        count: of positional arguments.

    Returns:
        Whether it can be called so.
    """
    if _comes_with_python(function):
        return False
    try:
        inspect.signature(function).bind(*[None] * count)
    except (TypeError, ValueError):
        return False
    return True


MEMORY = "object:"  # before the name of what exists in memory alone


def name_of(part: Any) -> str:
    """By what a part of a problem is found again: `module:name` of what another process can import, else `object:name`.

    Args:
        part: a function, a class, or any other object.

    Returns:
        The name. A script's own functions have none that another process could import: `__main__` is another module there.
    """
    module, name = getattr(part, "__module__", "") or "", getattr(part, "__qualname__", "")
    if name.isidentifier() and module != "__main__" and digest(part) and getattr(sys.modules.get(module), name, None) is part:
        return f"{module}:{name}"
    return MEMORY + (re.sub("[^A-Za-z0-9_]+", "", (name or type(part).__name__).rpartition(".")[2]) or "unnamed")


def digest(function: Any) -> str:
    """SHA-256 of the file that a function or class is written in; empty where there is none, as in a notebook.

    Args:
        function: or class, or an instance of one.

    Returns:
        64 hexadecimal digits, or nothing.
    """
    path = _file_of(function)
    return "" if path is None else hashlib.sha256(path.read_bytes()).hexdigest()


def modules_behind(function: Any) -> dict[str, str]:
    """SHA-256 of the modules that the file of a function or class imports from the same folder or package, and these in turn.

    What is installed, Python's own, and modules of other places are not looked into; nothing is imported for it.

    Args:
        function: or class, or an instance of one.

    Returns:
        64 hexadecimal digits by the module's name.
    """
    path = _file_of(function)
    if path is None:
        return {}
    name = getattr(function, "__module__", None) or type(function).__module__
    package = getattr(sys.modules.get(name), "__package__", None) or ""
    above = path.resolve().parents
    root = above[min(package.count(".") + 1 if package else 0, len(above) - 1)]
    found: dict[str, str] = {}
    waiting = [(path, package)]
    while waiting:
        file, package = waiting.pop()
        content = file.read_bytes()
        for each in _imports(content, package):
            place = _place(each)
            if each not in found and place is not None and _is_beside(place, root):
                found[each] = hashlib.sha256(place.read_bytes()).hexdigest()
                waiting.append((place, each if place.name == "__init__.py" else each.rpartition(".")[0]))
    return found


def _file_of(function: Any) -> Path | None:
    try:
        file = inspect.getsourcefile(function if callable(function) and not hasattr(function, "forward") else type(function))
    except TypeError:
        return None
    path = Path(file) if file else None
    return None if path is None or not path.is_file() or path.stat().st_size > MOST_BYTES else path


def _imports(content: bytes, package: str) -> set[str]:
    """The names of all that a source imports wherever in it: modules, their packages, and what may be a module of a package."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # said where it is imported
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(filter(None, (above, node.module)))
            names |= {base, *(f"{base}.{each.name}" for each in node.names)} if base else set()
    parts = [name.split(".") for name in names]
    return {".".join(each[:count]) for each in parts for count in range(1, len(each) + 1)}


def _place(name: str) -> Path | None:
    """Where a module stands."""
    first, *rest = name.split(".")
    try:
        found = (
            None if first in sys.stdlib_module_names or first == __name__.partition(".")[0] else importlib.util.find_spec(first)
        )
    except (ImportError, ValueError):
        return None
    if found is None:
        return None
    if not rest:
        return Path(found.origin) if found.origin and Path(found.origin).is_file() else None
    folders = [Path(each).joinpath(*rest[:-1]) for each in found.submodule_search_locations or ()]
    files = (file for each in folders for file in (each / f"{rest[-1]}.py", each / rest[-1] / "__init__.py"))
    return next((each for each in files if each.is_file()), None)


def _is_beside(place: Path, root: Path) -> bool:
    """Whether a file is a source below a folder, and not of what is installed there."""
    place = place.resolve()
    inside = place.suffix == ".py" and place.is_relative_to(root) and place.stat().st_size <= MOST_BYTES
    return inside and not {"site-packages", "dist-packages"} & set(place.parts)


def first_line(error: BaseException) -> str:
    """What an error says, on one line and without its full stop."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
