"""Valid JSON that is wrong: a record with a value of another kind, a field left out or one added, at a random place."""

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

LEAVES = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1.5,
        2**63,
        10**400,
        "",
        "x",
        "../../ESC",
        "/etc/passwd",
        "\x1b[2J\n",
        "\ud800",
        "a" * 300,
        [],
        {},
        [[]],
        [None],
        ["a", 1],
        {"": 0},
    ]
)
VALUES = st.one_of(LEAVES, st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3), max_leaves=5))
NAMES = st.sampled_from(
    [
        *("", "x", "../x", "\x1b", "train_loss", "class_accuracy", "lambda_first", "hessian", "clusters", "history", "error"),
        *("failed_epoch", "noise_level", "anchor_distance", "certificate", "status"),
    ]
)
SEARCHING = settings.get_current_profile_name() == "search"
QUICK, LONG = settings(max_examples=100), settings(max_examples=1000 if SEARCHING else 250)


def place_in(value: Any, draw: st.DrawFn) -> list[Any]:
    """A place in a value, by keys from its top; deep ones as likely as shallow ones."""
    keys: list[Any] = []
    while isinstance(value, dict | list) and value and (not keys or draw(st.integers(0, 2))):
        keys.append(draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value)))))
        value = value[keys[-1]]
    return keys


def changed(value: Any, draw: st.DrawFn) -> Any:
    value = json.loads(json.dumps(value))
    place = place_in(value, draw)
    parent = value
    for key in place[:-1]:
        parent = parent[key]
    match draw(st.sampled_from(["replace", "replace", "replace", "remove", "add"])):
        case "replace":
            parent[place[-1]] = draw(VALUES)
        case "remove":
            del parent[place[-1]]
        case _ if isinstance(parent, dict):
            parent[draw(NAMES)] = draw(VALUES)
        case _:
            parent.append(draw(VALUES))
    return value
