"""What is told of the topology of surfaces alone, as entries of the registry."""

from orograph.store.quantities import Quantity as Q

TOPOLOGY = {
    "surface_minima": Q("minima of the surface that last longer than the threshold", short="minima"),
    "surface_minima_inside": Q("those of them that do not lie at its border", short="inside"),
    "largest_persistence": Q("largest persistence of a minimum but the deepest", "nat", short="largest persistence"),
    "persistence_threshold": Q("persistence that a minimum must exceed", "nat", short="threshold"),
    "smad": Q("saddle-minimum average distance", "nat", symbol="SMAD"),
    "relative_smad": Q("saddle-minimum average distance by the range of heights", short="SMAD by range"),
    "smad_half": Q("mean SMAD of the grids of every second point", "nat", short="SMAD, every 2nd point"),
    "smad_third": Q("mean SMAD of the grids of every third point", "nat", short="SMAD, every 3rd point"),
    "smad_null": Q("SMAD of each random plane", "nat", short="SMAD, random", dims=("null_plane",)),
    "smad_null_low": Q("2.5 % quantile of the SMAD of random planes", "nat", short="SMAD, random, from"),
    "smad_null_high": Q("97.5 % quantile of the SMAD of random planes", "nat", short="SMAD, random, to"),
    "smad_p_value": Q("how often a random plane has at least this SMAD", symbol="p of SMAD"),
    "surface_barriers": Q(
        "lowest passes of the plane between the minima 1–2, 1–3, 2–3, above the higher of both", "nat", dims=("minima_pair",)
    ),
    "null_plane": Q("random plane"),
    "minima_pair": Q("two of the three minima"),
}
