"""The border between text ids and dense int32 codes. Crossed here and nowhere else."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from daogou.contract import Codes

UNKNOWN = -1


class Vocabulary:
    """Ids ↔ codes 0 … n−1, in order of first appearance. Only ever appended to, so a code never moves while a release lives."""

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self._ids: list[str] = []
        self._codes: dict[str, int] = {}
        self.extend(ids)

    def extend(self, ids: Iterable[str]) -> None:
        """Appends those that are new, in their order."""
        for name in ids:
            if name not in self._codes:
                self._codes[name] = len(self._ids)
                self._ids.append(name)

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, name: str) -> bool:
        return name in self._codes

    def code(self, name: str | None) -> int:
        """The code of one id, −1 if unknown."""
        return UNKNOWN if name is None else self._codes.get(name, UNKNOWN)

    def codes(self, names: Sequence[str] | pl.Series) -> Codes:
        """Codes of many ids; unknown ones are −1."""
        if isinstance(names, pl.Series):
            mapped = names.to_frame("id").join(self._frame(), on="id", how="left", maintain_order="left")["code"]
            return mapped.fill_null(UNKNOWN).to_numpy().astype(np.int32)
        get = self._codes.get
        return np.fromiter((get(name, UNKNOWN) for name in names), np.int32, len(names))

    def id(self, code: int) -> str:
        """The id of one code; IndexError for a code that was never given."""
        if code < 0:
            raise IndexError(f"code {code} names nothing")
        return self._ids[code]

    @property
    def ids(self) -> list[str]:
        """All ids in order of their codes; not to be changed."""
        return self._ids

    def digest(self) -> str:
        """sha256 over all ids: two vocabularies of one digest agree on every code."""
        return hashlib.sha256(msgspec.json.encode(self._ids)).hexdigest()

    def save(self, path: Path) -> None:
        path.write_bytes(msgspec.json.encode(self._ids))

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        return cls(msgspec.json.decode(path.read_bytes(), type=list[str]))

    def _frame(self) -> pl.DataFrame:
        return pl.DataFrame({"id": pl.Series(self._ids, dtype=pl.String), "code": np.arange(len(self), dtype=np.int32)})
