"""How the values of an item, a price or an attribute read on a page. A field that is unset, null or empty is simply not there."""

import re
from math import inf

from msgspec import UNSET, UnsetType

from daogou.data.rows import Item
from daogou.guide.dialogue import Reply
from daogou.profile.traits import band_edges

SIGNS = {"USD": "$", "EUR": "€", "GBP": "£", "CNY": "¥", "JPY": "¥"}
SMALL = {"a", "and", "for", "in", "of", "on", "or", "the", "to", "with"}


def text_of(value: str | UnsetType | None) -> str:
    """The text, or "" where the field has none."""
    return "" if value is UNSET or value is None else str(value)


def number_of(value: float | UnsetType | None) -> float | None:
    """The number, or None where the field has none."""
    return None if value is UNSET or value is None else float(value)


def neat(text: str) -> str:
    """Catalogues that shout are read in a calm voice: ``SOFT DRINKS`` becomes ``Soft Drinks``; mixed case is left as the shop wrote it."""
    if text.upper() != text or text.lower() == text:
        return text
    words = [_calm(word, first=number == 0) for number, word in enumerate(text.split())]
    return " ".join(words)


def _calm(word: str, *, first: bool) -> str:
    lower = word.lower()
    if lower in SMALL and not first:
        return lower
    out, start = [], True
    for char in lower:
        out.append(char.upper() if start else char)
        start = not (char.isalnum() or char == "'")
    return "".join(out)


def price(amount: float | None, currency: str = "") -> str:
    """``$3.99``; a currency without a sign of its own follows the number."""
    if amount is None:
        return ""
    sign = SIGNS.get(currency.upper(), "")
    return f"{sign}{amount:,.2f}" if sign or not currency else f"{amount:,.2f} {currency}"


def fact(value: object) -> str:
    """An attribute's value: tags side by side, and a year without a point and a nought."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).replace("|", ", ")


def levels(category: str) -> list[str]:
    """The parts of a category path, most general first."""
    return [part.strip() for part in category.split(">") if part.strip()]


def label(attribute: str, value: str, kind: str, currency: str) -> list[str]:
    """A value of a profile as people read it: the steps of a path, else one part."""
    if kind == "category":
        return [neat(step) for step in levels(value)]
    edges = band_edges(value) if kind == "number" else None
    if edges is None:
        return [neat(value)]
    low, high = ("" if abs(edge) == inf else price(edge, currency) if attribute == "price" else f"{edge:g}" for edge in edges)
    return [f"{low} – {high}" if low and high else f"< {high}" if high else f"≥ {low}"]


def title(item: Item) -> str:
    """What the item is called; its id where it has no title."""
    return neat(text_of(item.title)) or item.item_id


def reason(text: str, item: Item | None) -> str:
    """A reason as a calm sentence: it may quote the title of another item, which shouts where this catalogue's titles do."""
    own = text_of(item.title) if item is not None else ""
    if neat(own) == own:
        return text
    kept = [code for code in (*SIGNS, text_of(item.currency) if item is not None else "") if code]
    calm = re.sub(r"\b[A-Z][A-Z0-9&/'\-.,()]*(?:[ ][A-Z0-9&/'\-.,()]+)*", lambda run: neat(run[0]) if len(run[0]) > 2 else run[0], text)
    return re.sub(r"\b(?:" + "|".join(re.escape(neat(code)) for code in kept) + r")\b", lambda code: code[0].upper(), calm)  # is a code, not a word


def amount(text: str) -> float | None:
    """A price as someone types it (``3,50`` and ``$4`` too); None where it is none."""
    digits = text.strip().lstrip("".join(SIGNS.values())).replace(",", ".")
    try:
        value = float(digits)
    except ValueError:
        return None
    return value if 0 <= value < 1e12 else None


def plain(value: float | None) -> str:
    """A price as the filter language and a text field write it, with no more digits than it needs; "" for None."""
    return "" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")


def spoken(reply: Reply, item: Item | None) -> str:
    """What the guide said, as calm as `reason`, without the question at its end: that one stands over its answers."""
    text = reply.reply.removesuffix(reply.question.text).rstrip() if reply.question else reply.reply
    return reason(text, item)
