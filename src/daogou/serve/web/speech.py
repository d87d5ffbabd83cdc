"""The two languages of the pages: one catalogue each (``i18n/``), and the scenario's own words beside them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from daogou.scenario import Scenario

LOCALES = {"en": "English", "zh": "中文"}
"""Locale → its name in itself; the first is the default."""


@cache
def catalogue(locale: str) -> Mapping[str, str]:
    """Key → text. A count picks ``KEY.one`` or ``KEY.other``."""
    found: dict[str, str] = json.loads((resources.files(__package__) / "i18n" / f"{locale}.json").read_text("utf-8"))
    return found


def negotiate(accept_language: str) -> str:
    """The locale that an Accept-Language header likes best, the default where it likes none (``*`` and broken parts count for nothing)."""
    liked: list[tuple[float, int, str]] = []
    for order, part in enumerate(accept_language.split(",")):
        tag, _, rest = part.strip().partition(";")
        locale = tag.strip().lower().partition("-")[0]
        quality = _quality(rest)
        if locale in LOCALES and quality > 0:
            liked.append((-quality, order, locale))
    return min(liked)[2] if liked else next(iter(LOCALES))


def _quality(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


@dataclass(frozen=True, slots=True)
class Speech:
    """Texts of one page in one language."""

    locale: str
    scenario: Scenario

    def __call__(self, key: str, **values: object) -> str:
        """The text of `key` with its ``{names}`` filled; `n` counts, and ``{item}``, ``{items}``, ``{user}`` are the scenario's words."""
        texts = catalogue(self.locale)
        if "n" in values and f"{key}.other" in texts:
            key = f"{key}.one" if values["n"] == 1 else f"{key}.other"
        words = {name: self.word(name) for name in ("item", "items", "user")}
        return texts[key].format(**{**words, **values})

    def word(self, key: str, default: str = "") -> str:
        """The scenario's word; `default` (or the key) where it has none."""
        return self.scenario.word(key, self.locale, default)
