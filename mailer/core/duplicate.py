"""Who was named before in a file of any length: 8 bytes a person, and no database.

Addresses are told apart by 64 bits of their hash: among ten million people one pair
is confused once in 400,000 files, and then one is only counted wrongly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


class Seen:
    """The addresses so far, as sorted runs of hashes that are merged as they grow."""

    def __init__(self) -> None:
        self._runs: list[npt.NDArray[np.int64]] = []

    def add(self, addresses: Sequence[str]) -> list[bool]:
        """Remember *addresses*, each different, and tell which were here before."""
        hashes = np.fromiter(map(hash, addresses), np.int64, count=len(addresses))
        known = np.zeros(len(addresses), bool)
        for run in self._runs:
            known |= run[np.searchsorted(run, hashes).clip(max=len(run) - 1)] == hashes
        fresh = np.sort(hashes[~known])
        # Runs at least double towards the front, so that there are only a few.
        while self._runs and len(self._runs[-1]) <= 2 * len(fresh):
            fresh = np.sort(np.concatenate((self._runs.pop(), fresh)))
        if len(fresh):
            self._runs.append(fresh)
        found: list[bool] = known.tolist()
        return found
