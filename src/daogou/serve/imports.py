"""Bodies of many rows, read as they come in: JSON Lines of any length within `IMPORT_BYTES`, or one JSON array within the limit of a body."""

from collections.abc import AsyncIterator

import msgspec
from litestar.exceptions.http_exceptions import RequestEntityTooLarge

from daogou.serve.body import decode

IMPORT_BYTES = 1_000_000_000


async def rows(chunks: AsyncIterator[bytes], most_bytes: int) -> AsyncIterator[list[bytes]]:
    """The rows of a body in their order, some at a time, each as JSON text; empty lines are no rows.

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
        yield [bytes(raw) for raw in decode(rest, list[msgspec.Raw])]
    elif rest.strip():
        yield [rest]
