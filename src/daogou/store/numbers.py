"""Text ids to the store's integer keys, given out in order of first appearance. Used by the writer's thread alone."""

from collections.abc import Sequence

import sqlalchemy as sa

CACHED = 1_000_000  # ids kept in memory; about 120 MB at most
LOOKED_UP = 500


class Numbers:
    """The keys of one table. An id that the table lacks gets a row."""

    def __init__(self, number: sa.Column[int], text: sa.Column[str]) -> None:
        self._number, self._text = number, text
        self._known: dict[str, int] = {}

    def forget(self, name: str | None = None) -> None:
        """Forgets one id, or all after a rollback."""
        if name is None:
            self._known.clear()
        else:
            self._known.pop(name, None)

    def of(self, conn: sa.Connection, names: Sequence[str]) -> dict[str, int]:
        """A mapping that holds at least `names`; good until the next call."""
        known = self._known
        missing = [name for name in dict.fromkeys(names) if name not in known]
        if missing and len(known) + len(missing) > CACHED:
            known.clear()
            missing = list(dict.fromkeys(names))
        for start in range(0, len(missing), LOOKED_UP):
            part = missing[start : start + LOOKED_UP]
            known.update((name, number) for name, number in conn.execute(sa.select(self._text, self._number).where(self._text.in_(part))))
        if new := [name for name in missing if name not in known]:
            first = (conn.scalar(sa.select(sa.func.max(self._number))) or 0) + 1
            given = {name: first + i for i, name in enumerate(new)}
            conn.execute(sa.insert(self._text.table), [{self._number.name: number, self._text.name: name} for name, number in given.items()])
            known.update(given)
        return known
