"""What a text asks for, thing by thing, by every name that the catalogue and the lexicon have for it: 红色 finds Red and 惠普 HP in plain search too."""

from collections.abc import Iterable
from typing import NamedTuple

from daogou.guide.lexicon import phrases, topics
from daogou.guide.tokens import clean, is_cjk, tokens
from daogou.guide.understand import Constraint
from daogou.guide.values import Values

NAMES = 24
"""Other names for what is asked for that are searched too."""


class Named(NamedTuple):
    """One thing that a text asks for: its words, other names of it, and the filters that say the same."""

    said: str
    names: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()


def named(text: str, values: Values) -> list[Named]:
    """What a text asks for, thing by thing: names of values of this catalogue, what the lexicon knows in the other language, and single words."""
    cleaned = clean(text[:500])
    found, chinese, out = tokens(cleaned), is_cjk(cleaned), list[Named]()
    n = 0
    while n < len(found):
        things, length = values.names.at(found, n)
        others = [thing.short for thing in things]
        for topic in topics().values():
            concepts, reach = topic.concepts.at(found, n)
            others += [name for concept in concepts for name in topic.called[concept] if is_cjk(name) != chinese]
            length = max(length, reach)
        said = cleaned[found[n].start : found[n + max(length, 1) - 1].end]
        if others or length:
            names = tuple(name for name in dict.fromkeys(others) if name.casefold() != said)
            out.append(Named(said, names, tuple(Constraint(thing.attribute, "=", (thing.text,), thing.role).filter for thing in things)))
        elif out and is_cjk(said) and not out[-1].names and is_cjk(out[-1].said) and found[n - 1].end == found[n].start:
            out[-1] = Named(out[-1].said + said)  # a run of signs stays together
        elif not phrases()["filler"].at(found, n)[1]:
            out.append(Named(said))
        n += max(length, 1)
    return out


def other_names(text: str, values: Values) -> list[str]:
    """What the things that a text asks for are called by the catalogue, and in the other language."""
    return names_of(named(text, values))


def names_of(things: Iterable[Named]) -> list[str]:
    """The other names of all of them, as many as are searched."""
    return [name for thing in things for name in thing.names][:NAMES]
