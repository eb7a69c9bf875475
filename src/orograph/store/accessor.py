"""`ds.orograph`: what is asked most often of an opened sweep, without spelling out its dimensions."""

from typing import Any

import numpy as np
import xarray as xr

from orograph.errors import ConfigurationError
from orograph.store.grid import GRID


@xr.register_dataset_accessor("orograph")
class SweepAccessor:
    """Selections from what `open_run` gives for a sweep.

    Args:
        ds: what `open_run` gave, or a part of it.

    Raises:
        ConfigurationError: the data set is none of a sweep, or there is no such chain.
    """

    def __init__(self, ds: xr.Dataset) -> None:
        self._ds = ds

    def chain(self, seed: int | None = None, direction: str = "up") -> xr.Dataset:
        """One ladder as a data set along `strength` alone, without points that are missing or failed.

        Args:
            seed: the model ID; the first one if left out.
            direction: `up` or `down`.

        Returns:
            The ladder, its points in ascending order of λ.
        """
        ds = self._sweep()
        seeds, ways = ds.seed.values.tolist(), ds.direction.values.tolist()
        seed = seeds[0] if seed is None else seed
        if seed not in seeds or direction not in ways:
            raise ConfigurationError(f"no ladder of seed {seed}, {direction}; there are seeds {seeds} and directions {ways}.")
        line = ds.sel(seed=seed, direction=direction)
        return line.isel(strength=np.flatnonzero(line.status.values == "done"))

    def chains(self) -> dict[tuple[int, str], xr.Dataset]:
        """Every ladder that has a finished point.

        Returns:
            Ladders as `chain` gives them, by seed and direction.
        """
        ds = self._sweep()
        every = {(seed, way): self.chain(seed, way) for seed in ds.seed.values.tolist() for way in ds.direction.values.tolist()}
        return {key: line for key, line in every.items() if line.sizes["strength"]}

    def point(self, strength: float, seed: int | None = None, direction: str = "up") -> xr.Dataset:
        """The finished point whose λ is nearest.

        Args:
            strength: λ.
            seed: the model ID; the first one if left out.
            direction: `up` or `down`.

        Returns:
            All that was measured at that point.
        """
        line = self.chain(seed, direction)
        if not line.sizes["strength"]:
            raise ConfigurationError(f"the ladder {direction} has no finished point.")
        return line.sel(strength=strength, method="nearest")

    def loop(self, name: str, seed: int | None = None) -> xr.DataArray:
        """A quantity on the way up less on the way down, at the strengths that both ways have.

        Args:
            name: of a quantity, such as `objective`.
            seed: the model ID; the first one if left out.

        Returns:
            Differences, in the quantity's unit, along `strength`.
        """
        up, down = self.chain(seed, "up")[name], self.chain(seed, "down")[name]
        gap: xr.DataArray = up - down  # xarray keeps the strengths that both have
        gap.attrs = {**up.attrs, "long_name": f"{up.attrs.get('long_name', name)}, up less down"}
        return gap

    def table(self) -> Any:
        """All numbers and texts of the recorded points.

        Returns:
            A pandas `DataFrame`, one row a point.
        """
        ds = self._sweep()
        names = [name for name, each in ds.data_vars.items() if each.dims == GRID]
        frame = ds[names].to_dataframe().reset_index()
        return frame[frame.status != "missing"].reset_index(drop=True)

    def _sweep(self) -> xr.Dataset:
        if not set(GRID) <= set(self._ds.dims) or "status" not in self._ds:
            raise ConfigurationError("ds.orograph needs a sweep as open_run gives it, with seed, direction and strength.")
        return self._ds
