"""The filter language: one small expression, the same in scenarios, API and command line.

    price <= 500 and category = "Shoes" and not brand in ["X", "Y"]
    available and item_id not in $cart and price < $item.price and kind = $user.favourite_kind

    expression = conjunction { "or" conjunction }
    conjunction = negation { "and" negation }
    negation   = "not" negation | "(" expression ")" | comparison
    comparison = name [ operator value | ["not"] "in" ( list | "$cart" ) ]         a flag may stand alone
    value      = number | text | true | false | "$user." name | "$item." name [ "[" steps "]" ]

`$item.category[1]` is the path's first step: what belongs to the same department as the item on the page.
`category = "Shoes"` is also true below that path (``Shoes > Running``); an attribute of several values (``a|b``) matches by any of them. What is not
known (a missing attribute, ``$item`` without an item on the page) compares false, whatever the operator. `compile` finds every mistake; `Filter.mask`
never fails on data.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from daogou.contract import Mask
from daogou.errors import FilterError
from daogou.scenario import Kind

MAX_LENGTH = 4000  # characters
MAX_DEPTH = 40  # nested parentheses and negations
MAX_LIST = 1000  # values after `in`

NUMBERS = ("number", "integer", "time", "flag")
"""Kinds whose columns hold numbers; all others hold words."""

Op = Literal["=", "!=", "<", "<=", ">", ">="]
Scalar = float | str | bool


# ---- columns -------------------------------------------------------------------------------------------------------------------
class Numbers:
    """A column of numbers, times (µs) or flags (0, 1); NaN where unknown. Grows by `set`."""

    def __init__(self, values_I: NDArray[np.float64]) -> None:
        self._values, self._n = np.array(values_I, np.float64), len(values_I)  # a copy: columns of polars are read-only, and `set` writes

    @property
    def values_I(self) -> NDArray[np.float64]:
        return self._values[: self._n]

    def set(self, code: int, value: float | bool | None) -> None:
        """Changes one row, or appends rows up to it."""
        self._values, self._n = _grown(self._values, self._n, code + 1, np.nan)
        self._values[code] = np.nan if value is None else float(value)

    def compare(self, op: Op, value: float) -> Mask:
        """[I]; false where the row or `value` is unknown."""
        with np.errstate(invalid="ignore"):
            return np.asarray(_COMPARE[op](self.values_I, value)) & ~np.isnan(self.values_I)


class Words:
    """A column of texts; each distinct text is held once. `parts` says under which words a text is found: itself, its path, its several values."""

    def __init__(self, values: Iterable[str | None], kind: str = "tag") -> None:
        self._parts, self._asked = _PARTS.get(kind, (_whole, _whole))
        self._texts: list[str] = []
        self._number: dict[str, int] = {}
        self._under: dict[str, list[int]] = {}
        codes = np.fromiter((self._intern(v) for v in values), np.int32)
        self._codes, self._n = codes, len(codes)

    @property
    def codes_I(self) -> NDArray[np.int32]:
        """The number of each row's text, −1 where unknown."""
        return self._codes[: self._n]

    def text(self, number: int) -> str:
        """The text of a number in `codes_I`."""
        return self._texts[number]

    def set(self, code: int, value: str | None) -> None:
        """Changes one row, or appends rows up to it."""
        self._codes, self._n = _grown(self._codes, self._n, code + 1, -1)
        self._codes[code] = self._intern(value)

    def any_of(self, words: Iterable[str]) -> Mask:
        """[I] rows found under one of the words (a word of several values asks for any of them)."""
        hit = np.zeros(len(self._texts) + 1, np.bool_)  # the last answers for −1
        for word in words:
            for part in self._asked(word):
                hit[self._under.get(part, [])] = True
        return hit[self.codes_I]

    def counts(self, rows_N: NDArray[np.int64]) -> dict[str, int]:
        """How many of some rows, in their order, hold each text. Rows beyond the column hold none: others may have more of them by now."""
        codes_I = self.codes_I
        times_T = np.bincount(codes_I[rows_N[: np.searchsorted(rows_N, len(codes_I))]] + 1)[1:]
        there = np.flatnonzero(times_T)
        return {self._texts[number]: n for number, n in zip(there.tolist(), times_T[there].tolist(), strict=True)}

    def known(self) -> Mask:
        """[I] rows that hold a text."""
        return self.codes_I >= 0

    def _intern(self, text: str | None) -> int:
        if text is None or text == "":
            return -1
        number = self._number.get(text)
        if number is None:
            number = self._number[text] = len(self._texts)
            self._texts.append(text)
            for part in self._parts(text):
                self._under.setdefault(part, []).append(number)
        return number


Column = Numbers | Words


@lru_cache(maxsize=10_000)
def path_levels(text: str) -> tuple[str, ...]:
    """``"Shoes > Running"`` → ``("Shoes", "Shoes > Running")``."""
    steps = [step.strip() for step in text.split(">")]
    return tuple(" > ".join(steps[: n + 1]) for n in range(len(steps)))


def _several(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys([text, *(part.strip() for part in text.split("|"))]))


def _whole(text: str) -> tuple[str, ...]:
    return (text,)


def _end_of_path(text: str) -> tuple[str, ...]:
    return path_levels(text)[-1:]


Parts = Callable[[str], tuple[str, ...]]
_PARTS: dict[str, tuple[Parts, Parts]] = {"category": (path_levels, _end_of_path), "tag": (_several, _several)}
"""By kind: the words under which a text is found, and those that a text asks for."""
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": np.equal, "!=": np.not_equal, "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal,
}  # fmt: skip


def _grown(array: NDArray[Any], n: int, wanted: int, empty: float) -> tuple[NDArray[Any], int]:
    """`array` with room for `wanted` rows (doubled when it must grow, so that appending is cheap)."""
    if wanted <= n:
        return array, n
    if wanted > len(array):
        more = np.full(max(wanted, 2 * len(array), 16), empty, array.dtype)
        more[:n] = array[:n]
        array = more
    return array, wanted


class Table(Protocol):
    """Where a filter finds its columns."""

    def __len__(self) -> int: ...
    def column(self, name: str) -> Column: ...


class Known(NamedTuple):
    """What is known when the question is asked: the item ids of `$cart`, the values of `$user.NAME` and `$item.NAME`."""

    page: tuple[str, ...] = ()
    user: Mapping[str, Any] = {}
    item: Mapping[str, Any] = {}


NOTHING_KNOWN = Known()


# ---- the tree ------------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Ref:
    """`$user.NAME` or `$item.NAME`; of a path its first `steps`, 0 = all."""

    owner: Literal["user", "item"]
    name: str
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Compare:
    name: str
    op: Op
    value: Scalar | Ref


@dataclass(frozen=True, slots=True)
class In:
    """`values` None stands for `$cart`."""

    name: str
    values: tuple[Scalar, ...] | None


@dataclass(frozen=True, slots=True)
class Not:
    of: "Node"


@dataclass(frozen=True, slots=True)
class All:
    of: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Any_:
    of: "tuple[Node, ...]"


Node = Compare | In | Not | All | Any_


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter that was read and found right. `fixed` ones do not depend on the request, so that their masks can be kept."""

    text: str
    node: Node | None
    fixed: bool = True
    names: frozenset[str] = field(default=frozenset())

    def mask(self, table: Table, known: Known = NOTHING_KNOWN) -> Mask:
        """[I] whether each row of the table may be shown."""
        return np.ones(len(table), np.bool_) if self.node is None else _mask(self.node, table, known)


def _mask(node: Node, table: Table, known: Known) -> Mask:
    match node:
        case Not(of):
            return ~_mask(of, table, known)
        case All(of):
            return np.asarray(np.logical_and.reduce([_mask(one, table, known) for one in of]))
        case Any_(of):
            return np.asarray(np.logical_or.reduce([_mask(one, table, known) for one in of]))
        case In(name, values):
            return _any_of(table.column(name), known.page if values is None else values)
        case Compare(name, op, value):
            return _compare(table.column(name), op, _resolve(value, known))


def _any_of(column: Column, values: Iterable[Scalar]) -> Mask:
    if isinstance(column, Words):
        return column.any_of(v for v in values if isinstance(v, str))
    wanted = np.array([float(v) for v in values if not isinstance(v, str)], np.float64)
    return np.isin(column.values_I, wanted)


def _compare(column: Column, op: Op, value: Scalar | None) -> Mask:
    if isinstance(column, Words):
        if not isinstance(value, str):
            return np.zeros(len(column.codes_I), np.bool_)
        same = column.any_of((value,))
        return same if op == "=" else column.known() & ~same
    if value is None or isinstance(value, str) or math.isnan(value):
        return np.zeros(len(column.values_I), np.bool_)
    return column.compare(op, float(value))


def _resolve(value: Scalar | Ref, known: Known) -> Scalar | None:
    if not isinstance(value, Ref):
        return value
    found = (known.user if value.owner == "user" else known.item).get(value.name)
    if value.steps and isinstance(found, str):
        found = path_levels(found)[: value.steps][-1]
    return found if isinstance(found, str | float | int | bool) else None


# ---- reading -------------------------------------------------------------------------------------------------------------------
class _Token(NamedTuple):
    kind: str  # name, number, text, ref, sign, end
    text: str
    at: int


_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<ref>\$[^\W\d]\w*(?:\.[^\W\d]\w*(?:\[[1-9]\])?)?)
    | (?P<name>[^\W\d]\w*)
    | (?P<sign><=|>=|!=|==|[=<>()\[\],])
    )""",
    re.VERBOSE | re.DOTALL,
)
_WORDS = ("and", "or", "not", "in", "true", "false")


def _tokens(text: str) -> list[_Token]:
    out: list[_Token] = []
    at = 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        if found is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            quote = text[at] in "\"'"
            raise _error(
                f"a text that is never closed: {text[at : at + 20]}" if quote else f"the character {text[at]!r}",
                at,
                expected="the closing quote" if quote else "a name, a value, an operator or a parenthesis",
            )
        kind = str(found.lastgroup)
        out.append(_Token(kind, found.group(kind), found.start(kind)))
        at = found.end()
    return [*out, _Token("end", "the end", len(text))]


def _error(found: str, at: int, *, expected: str = "", fix: str = "") -> FilterError:
    return FilterError(found, expected=expected, fix=fix, where=f"filter, character {at + 1}", field="filter")


class _Reader:
    """Recursive descent; one method per line of the grammar."""

    def __init__(self, text: str, columns: Mapping[str, str], users: Mapping[str, str]) -> None:
        self.columns, self.users = columns, users
        self.tokens, self.next, self.depth = _tokens(text), 0, 0
        self.fixed = True
        self.names: set[str] = set()

    @property
    def token(self) -> _Token:
        return self.tokens[self.next]

    def word(self) -> str:
        """The keyword at hand (in any case), else nothing."""
        lower = self.token.text.lower()
        return lower if self.token.kind == "name" and lower in _WORDS else ""

    def take(self) -> _Token:
        token = self.token
        self.next += token.kind != "end"
        return token

    def taken(self, sign: str) -> bool:
        if self.token.kind == "sign" and self.token.text == sign:
            self.take()
            return True
        return False

    def close(self, sign: str, opened: _Token) -> None:
        if not self.taken(sign):
            raise _error(f"{self.token.text!r}", self.token.at, expected=f"{sign!r} for the {opened.text!r} of character {opened.at + 1}")

    def whole(self) -> Node:
        node = self.expression()
        if self.token.kind != "end":
            raise _error(f"{self.token.text!r} after a complete condition", self.token.at, expected="and, or, or the end")
        return node

    def expression(self) -> Node:
        return self.joined("or", self.conjunction, Any_)

    def conjunction(self) -> Node:
        return self.joined("and", self.negation, All)

    def joined(self, word: str, part: Callable[[], Node], kind: type[All] | type[Any_]) -> Node:
        parts = [part()]
        while self.word() == word:
            self.take()
            parts.append(part())
        return parts[0] if len(parts) == 1 else kind(tuple(parts))

    def negation(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _error("conditions nested too deeply", self.token.at, expected=f"at most {MAX_DEPTH} levels of parentheses and `not`")
        try:
            if self.word() == "not":
                self.take()
                return Not(self.negation())
            opened = self.token
            if self.taken("("):
                node = self.expression()
                self.close(")", opened)
                return node
            return self.comparison()
        finally:
            self.depth -= 1

    def comparison(self) -> Node:
        token = self.take()
        if token.kind != "name" or token.text.lower() in _WORDS:
            raise _error(f"{token.text!r}", token.at, expected="the name of an attribute: " + ", ".join(sorted(self.columns)))
        kind = _lookup(token.text, self.columns, token.at)
        self.names.add(token.text)
        if self.word() == "in":
            self.take()
            return self.membership(token.text, kind)
        if self.word() == "not":
            self.take()
            if self.word() != "in":
                raise _error(f"{self.token.text!r} after `not`", self.token.at, expected="in")
            self.take()
            return Not(self.membership(token.text, kind))
        if self.token.kind == "sign" and self.token.text in ("==", *_COMPARE):
            sign = self.take()
            return self.compared(token.text, kind, sign)
        if kind == "flag":
            return Compare(token.text, "=", True)
        raise _error(f"{self.token.text!r} after {token.text!r}", self.token.at, expected="one of = != < <= > >= in, not in")

    def compared(self, name: str, kind: str, sign: _Token) -> Compare:
        op: Any = "=" if sign.text == "==" else sign.text
        words = kind not in NUMBERS
        if (words or kind == "flag") and op not in ("=", "!="):
            raise _error(f"{op!r} on {name!r}, whose kind is {kind}", sign.at, expected="= != in, because it has no order")
        return Compare(name, op, self.value(name, kind))

    def membership(self, name: str, kind: str) -> In:
        token = self.token
        if token.kind == "ref":
            self.take()
            if token.text != "$cart":
                raise _error(f"{token.text!r} after `in`", token.at, expected="a list in brackets, or $cart", fix=f"write {name} = {token.text}")
            if name != "item_id":
                raise _error(f"{name!r} looked for in $cart, which holds item ids", token.at, expected="item_id in $cart")
            self.fixed = False
            return In(name, None)
        if not self.taken("["):
            raise _error(f"{token.text!r} after `in`", token.at, expected="a list in brackets, or $cart")
        values: list[Scalar] = []
        while not self.taken("]"):
            if values and not self.taken(","):
                raise _error(f"{self.token.text!r} in a list", self.token.at, expected="',' or ']'")
            if len(values) >= MAX_LIST:
                raise _error("a list too long", self.token.at, expected=f"at most {MAX_LIST} values")
            at = self.token.at
            value = self.value(name, kind)
            if isinstance(value, Ref):
                raise _error("a reference in a list", at, expected="a value", fix=f"write {name} = … or {name} = …")
            values.append(value)
        return In(name, tuple(values))

    def value(self, name: str, kind: str) -> Scalar | Ref:
        token = self.take()
        if token.kind == "ref":
            return self.reference(token, name, kind)
        value: Scalar
        if token.kind == "number":
            value = float(token.text)
            if not math.isfinite(value):
                raise _error(f"the number {token.text[:20]}", token.at, expected="a finite number")
        elif token.kind == "text":
            value = re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.DOTALL)
        elif token.kind == "name" and token.text.lower() in ("true", "false"):
            value = token.text.lower() == "true"
        else:
            quoted = f'a text needs quotes: "{token.text}"' if token.kind == "name" else ""
            raise _error(f"{token.text!r}", token.at, expected=_EXPECTED[_group(kind)], fix=quoted)
        return _typed(value, name, kind, token)

    def reference(self, token: _Token, name: str, kind: str) -> Ref:
        owner, _, attribute = token.text[1:].partition(".")
        attribute, _, steps = attribute.partition("[")
        if owner not in ("user", "item") or not attribute:
            raise _error(f"{token.text!r}", token.at, expected="$user.NAME or $item.NAME (and `item_id in $cart`)")
        known = self.users if owner == "user" else self.columns
        other = _lookup(attribute, known, token.at, f"${owner}.")
        if _group(kind) != _group(other):
            raise _error(f"{name!r} ({kind}) compared with {token.text!r} ({other})", token.at, expected=_EXPECTED[_group(kind)])
        if steps and other != "category":
            raise _error(f"the first steps of {attribute!r} ({other})", token.at, expected="a category, which is a path", fix=f"write {token.text[:-3]}")
        self.fixed = False
        return Ref("user" if owner == "user" else "item", attribute, int(steps[:-1] or 0))


_EXPECTED = {"number": "a number", "time": 'a time such as "2024-12-31", or µs since 1970', "flag": "true or false", "words": 'a text in quotes: "…"'}


def _group(kind: str) -> str:
    return {"number": "number", "integer": "number", "time": "time", "flag": "flag"}.get(kind, "words")


def _typed(value: Scalar, name: str, kind: str, token: _Token) -> Scalar:
    """`value` as the column holds it, or an error."""
    group = _group(kind)
    found = "flag" if isinstance(value, bool) else "words" if isinstance(value, str) else "number"
    if group == "time" and isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1e6
        except (ValueError, OverflowError):
            pass  # said below, as for every other wrong type
    elif found == group or (group == "time" and found == "number"):
        return value
    raise _error(f"{token.text[:40]} compared with {name!r}, whose kind is {kind}", token.at, expected=_EXPECTED[group])


def _lookup(name: str, known: Mapping[str, str], at: int, prefix: str = "") -> str:
    if name in known:
        return known[name]
    near = get_close_matches(name, known, n=1)
    raise _error(
        f"no attribute named {prefix + name!r}",
        at,
        expected="one of " + (", ".join(prefix + one for one in sorted(known)) or "none: the scenario declares none"),
        fix=f"did you mean {prefix + near[0]!r}?" if near else "",
    )


def compile(text: str, columns: Mapping[str, Kind] | Mapping[str, str], *, users: Mapping[str, Kind] | Mapping[str, str] | None = None) -> Filter:
    """Reads a filter.

    Args:
        text: the expression; empty allows everything.
        columns: name → kind of the item attributes that exist.
        users: name → kind of the registration attributes, for `$user.NAME`.

    Raises:
        FilterError: it does not parse, names what does not exist, or compares what cannot be compared; says where.
    """
    if len(text) > MAX_LENGTH:
        raise _error(f"a filter of {len(text)} characters", MAX_LENGTH, expected=f"at most {MAX_LENGTH}")
    if not text.strip():
        return Filter(text, None)
    reader = _Reader(text, columns, users or {})
    node = reader.whole()
    return Filter(text, node, reader.fixed, frozenset(reader.names))
