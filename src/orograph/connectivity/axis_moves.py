"""What operations that move tensors' entries about say of the units that their dimensions run over.

Changes of shape join dimensions and split them, choices and concatenations make sums of them, and positions that are chosen one
by one are held.
"""

import math

from orograph.connectivity.axes import Axis, Part
from orograph.connectivity.axis_reading import Reading, Rule, Value, argument, shape_of
from orograph.curvature.tracing.graph import Call

SAME = ("clone", "detach", "alias", "contiguous", "lift_fresh_copy", "lift_fresh", "_to_copy", "copy_")


def _same(reading: Reading, node: Call, name: str) -> Value:
    return list(reading.values[node.args[0]])


def _as_strided(reading: Reading, node: Call, name: str) -> Value:
    """Where it says other strides for dimensions of one place alone, as of images in channels-last order."""
    source, shape, strides = node.args[0].meta["val"], list(node.args[1]), list(node.args[2])
    alike = all(a == b for a, b, size in zip(strides, source.stride(), shape, strict=False) if size > 1)
    same = shape == list(source.shape) and alike and not argument(node, 3, "storage_offset")
    return list(reading.values[node.args[0]]) if same else None


def _permute(reading: Reading, node: Call, name: str) -> Value:
    value = list(reading.values[node.args[0]])
    if name == "permute":
        return [value[place] for place in node.args[1]]
    if len(value) > 1:
        one, other = (0, 1) if name == "t" else node.args[1:3]
        value[one], value[other] = value[other], value[one]
    return value


def _unsqueeze(reading: Reading, node: Call, name: str) -> Value:
    value = list(reading.values[node.args[0]])
    place = node.args[1] % (len(value) + 1)
    return [*value[:place], reading.axes.fresh(1), *value[place:]]


def _squeeze(reading: Reading, node: Call, name: str) -> Value:
    value, before = reading.values[node.args[0]], shape_of(node.args[0])
    chosen = argument(node, 1, "dim", list(range(len(value))))
    chosen = [each % len(value) for each in (chosen if isinstance(chosen, tuple | list) else [chosen])] if value else []
    return [each for place, each in enumerate(value) if place not in chosen or before[place] != 1]


def _expand(reading: Reading, node: Call, name: str) -> Value:
    value, shape = reading.dims(node.args[0]), shape_of(node)
    found = []
    for place, size in enumerate(shape, -len(shape)):
        own = value[place] if len(value) >= -place else reading.axes.fresh(1)
        if reading.axes.size(own) != size:  # the same in all places, so that every order will do
            own = reading.axes.fresh(size)
            reading.bent.append(own)
        found.append(own)
    return found


def _view(reading: Reading, node: Call, name: str) -> Value:
    value, before, after = reading.values[node.args[0]], shape_of(node.args[0]), shape_of(node)
    if before == after:
        return list(value)
    value = reading.dims(node.args[0])
    if 0 in before:
        return None
    found: list[Axis | Part] = []
    here = there = 0
    while here < len(before) or there < len(after):  # the fewest dimensions on both sides that hold as many places
        start, first = here, there
        old, new = math.prod(before[here : here + 1]), math.prod(after[there : there + 1])
        here, there = here + 1, there + 1
        while old != new:
            if old < new:
                old, here = old * before[here], here + 1
            else:
                new, there = new * after[there], there + 1
        while here < len(before) and before[here] == 1:
            here += 1
        while there < len(after) and after[there] == 1:
            there += 1
        sizes = tuple(after[first:there])
        axis = reading.axes.resolved(reading.axes.joined(value[start:here]))
        wide = [size for size in sizes if size > 1]
        if len(wide) > 1 and len(axis) == 1 and len(axis[0]) == 1 and sizes[0] > 1:
            found += [Part(axis, sizes, place) for place in range(len(sizes))]
        else:
            found += reading.axes.split(axis, sizes, "a change of shape")
    return found


def _select(reading: Reading, node: Call, name: str) -> Value:
    dimension = node.args[1] % len(shape_of(node.args[0]))
    return _at(reading, node.args[0], dimension, node.args[2] % shape_of(node.args[0])[dimension])


def _at(reading: Reading, source: Call, dimension: int, index: int) -> list[Axis | Part]:
    """One place of a dimension."""
    value = list(reading.values[source])
    chosen = value[dimension]
    if isinstance(chosen, Part) and chosen.place == 0 and value.count(chosen) == 1:
        base, (_, *rest) = chosen.base, chosen.sizes
        size = reading.axes.size(base) // chosen.sizes[0]
        piece = reading.axes.cut(base, index * size, size, "a choice of some of its places")
        value = [
            (piece if len(rest) == 1 else Part(piece, tuple(rest), each.place - 1))
            if isinstance(each, Part) and each.base == base and each.sizes == chosen.sizes and each.place
            else each
            for each in value
        ]
    else:
        value = list(reading.dims(source))
        reading.axes.hold(value[dimension], "a choice of one of its places")
    return value[:dimension] + value[dimension + 1 :]


def _unbind(reading: Reading, node: Call, name: str) -> Value:
    dimension = argument(node, 1, "dim", 0) % len(shape_of(node.args[0]))
    return [_at(reading, node.args[0], dimension, index) for index in range(shape_of(node.args[0])[dimension])]


def _slice(reading: Reading, node: Call, name: str) -> Value:
    shape = shape_of(node.args[0])
    dimension = argument(node, 1, "dim", 0) % len(shape)
    size, start, step = shape[dimension], argument(node, 2, "start") or 0, argument(node, 4, "step", 1)
    if shape_of(node) == shape:
        return list(reading.values[node.args[0]])
    if step != 1:
        return None
    start = min(max(start + size if start < 0 else start, 0), size)
    return _pieces(reading, node, dimension, [(start, shape_of(node)[dimension])])[0]


def _split(reading: Reading, node: Call, name: str) -> Value:
    dimension = argument(node, 2, "dim", 0) % len(shape_of(node.args[0]))
    lengths = [each.shape[dimension] for each in node.meta["val"]]
    return _pieces(reading, node, dimension, [(sum(lengths[:place]), length) for place, length in enumerate(lengths)])


def _pieces(reading: Reading, node: Call, dimension: int, places: list[tuple[int, int]]) -> list[list[Axis]]:
    value, found = list(reading.dims(node.args[0])), []
    for start, length in places:
        piece = reading.axes.cut(value[dimension], start, length, "a choice of some of its places")
        found.append([*value[:dimension], piece, *value[dimension + 1 :]])
    return found


def _glu(reading: Reading, node: Call, name: str) -> Value:
    """x₁ σ(x₂), of the two halves of a dimension."""
    dimension = argument(node, 1, "dim", -1) % len(shape_of(node))
    half = shape_of(node)[dimension]
    one, other = _pieces(reading, node, dimension, [(0, half), (half, half)])
    reading.bent += one
    return reading.broadcast([one, other], "the halves of a gate")


def _cat(reading: Reading, node: Call, name: str) -> Value:
    tensors = [reading.dims(each) for each in node.args[0] if shape_of(each) != [0]]
    dimension = argument(node, 1, "dim", 0) % len(shape_of(node))
    if name == "stack":
        tensors = [[*dims[:dimension], reading.axes.fresh(1), *dims[dimension:]] for dims in tensors]
    rest = [[*dims[:dimension], *dims[dimension + 1 :]] for dims in tensors]
    common = reading.broadcast(rest, f"the operation '{name}'")
    along = tuple(segment for dims in tensors for segment in dims[dimension])
    return [*common[:dimension], along, *common[dimension:]]


def _embedding(reading: Reading, node: Call, name: str) -> Value:
    weight, indices = (reading.dims(each) for each in node.args[:2])
    reading.axes.hold(weight[0], "the numbers that an embedding looks up")
    return [*indices, weight[1]]


def _index(reading: Reading, node: Call, name: str) -> Value:
    """A choice of places by one tensor of numbers."""
    value, shape = reading.dims(node.args[0]), shape_of(node.args[0])
    if name == "index":
        places = [place for place, each in enumerate(node.args[1]) if each is not None]
        indices = node.args[1][places[0]]
    else:
        places, indices = [node.args[1] % len(shape)], node.args[2]
    if len(places) != 1 or len(shape_of(node)) != len(shape) - 1 + len(shape_of(indices)):
        return None
    reading.axes.hold(value[places[0]], "a choice of some of its places")
    return [*value[: places[0]], *reading.dims(indices), *value[places[0] + 1 :]]


def _index_add(reading: Reading, node: Call, name: str) -> Value:
    """Sums at places chosen by numbers."""
    value, source = list(reading.dims(node.args[0])), list(reading.dims(node.args[3]))
    place = node.args[1] % len(value)
    reading.axes.hold(value[place], "a choice of some of its places")
    reading.axes.hold(source[place], "a choice of some of its places")
    source[place] = value[place]
    return reading.broadcast([value, source], f"the operation '{name}'")


def _padding(reading: Reading, node: Call, name: str) -> Value:
    found = list(reading.dims(node.args[0]))
    for place, (before, after) in enumerate(zip(shape_of(node.args[0]), shape_of(node), strict=True)):
        if before != after:
            reading.axes.hold(found[place], "a padding")
            found[place] = reading.axes.fresh(after, "a padding")
    reading.bent += found
    return found


MOVES: dict[str, Rule] = {
    **dict.fromkeys(SAME, _same),
    **dict.fromkeys(("permute", "transpose", "t"), _permute),
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "_reshape_alias"), _view),
    **dict.fromkeys(("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes"), _split),
    **dict.fromkeys(("cat", "stack"), _cat),
    **dict.fromkeys(("index", "index_select"), _index),
    "index_add": _index_add,
    "glu": _glu,
    "as_strided": _as_strided,
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    "expand": _expand,
    "select": _select,
    "unbind": _unbind,
    "slice": _slice,
    "embedding": _embedding,
    "constant_pad_nd": _padding,
}
