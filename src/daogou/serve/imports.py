"""Many rows in one body: read as they come in, checked one by one, written batch by batch. A wrong row is named and does not sink the others."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec
from litestar.exceptions.http_exceptions import RequestEntityTooLarge

from daogou.data.rows import Ack
from daogou.errors import UsageError
from daogou.serve.body import decode, flaw
from daogou.serve.errors import BadRequest, usage_flaw
from daogou.serve.wire import Flaw, Loaded

IMPORT_BYTES = 1_000_000_000
BATCH = 1000  # rows written at once
MOST_FLAWS = 100  # named in one answer; the rest is counted

T = TypeVar("T", bound=msgspec.Struct)


async def rows(chunks: AsyncIterator[bytes], most_bytes: int) -> AsyncIterator[Sequence[bytes | msgspec.Raw]]:
    """The rows of a body in their order, some at a time, each as JSON text: JSON Lines of any length, or one array. Empty lines are no rows.

    Args:
        chunks: the body.
        most_bytes: of one line, or of a whole array.

    Raises:
        RequestEntityTooLarge: a line or an array is larger.
        BadRequest: an array that is not JSON.
    """
    rest, array = b"", None
    async for chunk in chunks:
        rest += chunk
        if array is None and (head := rest.lstrip()):
            array = head.startswith(b"[")
        if not array:
            *lines, rest = rest.split(b"\n")
            if ready := [line for line in lines if line.strip()]:
                yield ready
        if len(rest) > most_bytes:
            raise RequestEntityTooLarge
    if array:
        yield decode(rest, list[msgspec.Raw])
    elif rest.strip():
        yield [rest]


@dataclass
class Intake(Generic[T]):
    """Takes rows of one type and keeps count.

    Args:
        kind: what a row is.
        check: what is wrong with a row beyond its type.
        write: puts rows on disk; all of one call or, with a UsageError, none.
    """

    kind: type[T]
    check: Callable[[T], list[Flaw]]
    write: Callable[[list[T]], Awaitable[Ack]]
    ack: Ack = field(default_factory=Ack)
    flaws: list[Flaw] = field(default_factory=list)
    seen: int = 0
    rejected: int = 0

    async def take(self, raws: Sequence[bytes | msgspec.Raw]) -> None:
        """Decodes, checks and writes; when it returns, the good ones are on disk."""
        for start in range(0, len(raws), BATCH):
            good: list[tuple[int, T]] = []
            for raw in raws[start : start + BATCH]:
                try:
                    row = msgspec.json.decode(raw, type=self.kind)
                    found = self.check(row)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
                    found = [flaw(e, bytes(raw), self.kind)]
                if found:
                    self._reject(self.seen, found)
                else:
                    good.append((self.seen, row))
                self.seen += 1
            if good:
                await self._write(good)

    async def _write(self, numbered: list[tuple[int, T]]) -> None:
        """Writes all, or halves them until the store's complaint is of a single row."""
        try:
            ack = await self.write([row for _, row in numbered])
        except UsageError as e:
            if len(numbered) == 1:
                self._reject(numbered[0][0], [usage_flaw(e)])
                return
            middle = len(numbered) // 2
            await self._write(numbered[:middle])
            await self._write(numbered[middle:])
            return
        self.ack = Ack(self.ack.accepted + ack.accepted, self.ack.duplicates + ack.duplicates)

    def _reject(self, index: int, found: Sequence[Flaw]) -> None:
        self.rejected += 1
        if len(self.flaws) < MOST_FLAWS:
            self.flaws += [msgspec.structs.replace(one, index=index) for one in found]

    def result(self) -> Loaded:
        """
        Raises:
            BadRequest: there was no row, or no good one.
        """
        if not self.seen:
            raise BadRequest("no rows", [Flaw(field="body", found="nothing", expected="one JSON object a line, or an array of them")])
        if self.rejected == self.seen:
            raise BadRequest("every row is wrong", self.flaws[:MOST_FLAWS])
        return Loaded(accepted=self.ack.accepted, duplicates=self.ack.duplicates, rejected=self.flaws[:MOST_FLAWS], rejected_count=self.rejected)
