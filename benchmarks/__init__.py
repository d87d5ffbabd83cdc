"""Commands behind every figure in the READMEs. A benchmark is not a test: it prints, and ends with 1 where a figure misses its floor."""

from collections.abc import Sequence
from typing import Any

import msgspec


def hyperparameters(texts: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE … as settings: what looks like a number, a list, true or false is one, everything else is text."""
    pairs = (text.partition("=") for text in texts)
    return {name: msgspec.json.decode(value) if value[:1] in "0123456789tfn-.[" else value for name, _, value in pairs}
