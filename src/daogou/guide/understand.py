"""A sentence taken apart: constraints in the filter language, what is asked relative to what was shown, and the rest, which is searched by meaning.

Numbers, negation and sizes are read by rules alone; values by their names (values.py). Every constraint remembers the words it came from.
"""

import re
from dataclasses import dataclass, field, replace
from typing import Literal

from daogou.guide.lexicon import listed, phrases, topics
from daogou.guide.money import Price, prices
from daogou.guide.tokens import BREAKS, Token, clean, is_cjk, key, simplified, tokens
from daogou.guide.values import Value, Values, broadest

MAX_CHARACTERS = 1000
"""Of a text that are understood; the rest is ignored, and a note says so."""
REST_CHARACTERS = 200
CONSTRAINTS = 12

Op = Literal["=", "!=", "<", "<=", ">", ">="]
_SIZE = re.compile(
    r"(?:\bsize|尺码|尺寸|码数)\s*(?:is|of|为|是|:)?\s*(\d{1,2}(?:\.5)?|[x]{0,4}[sl]|m|\d?xl)(?![a-z0-9])"
    r"|(?<![\d.])(\d{2}(?:\.5)?)\s*(?:码|号)"
    r"|(?<![a-z0-9'])(xxs|xs|xl|xxl|xxxl|[2-5]xl|[sml](?=\s*(?:码|号|size)))\s*(?:码|号|size)?(?![a-z0-9])"
)
_ORDINAL = re.compile(
    rf"(?<![a-z])(?<!cheapest )(?<!expensive )(?<!at )({'|'.join(listed('ordinals'))})"
    r"(?![a-z-]| (?:of all|time|place|hand|class|aid|date|birthday|day)(?![a-z]))(?:\s+(?:one|item|product|pair))?"
    r"|(?:#|no\.\s?|number )(\d{1,2})(?!\d)"
    r"|第\s?([一二三四五六七八九十]|\d{1,2})\s?(?:个|款|双|件|条|只|种|台|本|部|瓶|副)?"
)
_OWN = frozenset({"my", "your", "our", "his", "their"})
_CHINESE = "一二三四五六七八九十"
_UNLIKED = re.compile(r"(?:(?<![a-z])(?:not|don't|do not|dont|without|except|but)(?: (?:like|want|the))*|不要|不喜欢|不想要|除了)\s*$")
"""What stands before a reference that is refused: "not the first one"."""
_SPEAKER = re.compile(r"(?<![a-z])(?:i'm|i am|as) a (?:man|woman|guy|girl|boy|lady|male|female)(?![a-z])|我是个?(?:男|女)(?:生|人|士|的|孩)?")
_AGE = re.compile(
    r"(?<![\w.])(?P<n>\d{1,3})[\s-]*(?:years?|yrs?|months?)[\s-]*olds?(?![a-z])|(?<![a-z])aged?\s+(?P<of>\d{1,3})(?!\d)"
    r"|(?P<zh>\d{1,3}|[一二两三四五六七八九十]{1,3})\s*(?:个?月|周)?岁(?:半|多|左右)?"
)
CHILD = 12
"""Years up to which somebody is a child where nothing else says whom it is for."""
_IT = r"(?:it|them|this|that|these|those|the one|this one|that one)"
_GOES = re.compile(
    rf"(?<![a-z])(?:goes|go|matches|match|(?<!a )pairs?|looks? good|wear|worn)\s+(?:(?:well|best|nicely)\s+)?(?:with|under|over)\s+(?!{_IT}(?![a-z]))[^,.;!?]+"
    rf"|(?<![a-z])to match\s+(?!{_IT}(?![a-z]))[^,.;!?]+"
    r"|(?<!百)(?:搭配|配|搭)(?!饰|件|套|的)[^,.;!?，。；！？]{2,16}?的(?=[^,.;!?，。；！？])"
    r"|(?:和|跟|与|同)[^,.;!?，。；！？和跟与同]{2,16}?(?:搭配|相配|配套|搭|配)的?"
)
"""What the goods shall go with: a thing of its own, whose colour and kind are not those of the goods. What goes with "it" is a move."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """One thing that must hold. `said` is the words it came from, `start` and `end` their place in the cleaned text."""

    attribute: str
    op: Op
    values: tuple[str | float, ...]
    role: str
    said: str = ""
    start: int = 0
    end: int = 0
    en: str = ""
    zh: str = ""

    @property
    def id(self) -> str:
        """Names the chip: the same constraint has the same id in every turn."""
        return f"{self.attribute}{self.op}{'|'.join(map(digits, self.values))}"

    @property
    def filter(self) -> str:
        """In the filter language."""
        written = [_quoted(value) for value in self.values]
        if len(written) == 1:
            return f"{self.attribute} {self.op} {written[0]}" if self.op != "!=" else f"not {self.attribute} = {written[0]}"
        return f"{'not ' if self.op == '!=' else ''}{self.attribute} in [{', '.join(written)}]"

    @property
    def wanted(self) -> bool:
        return self.op == "="

    def label(self, locale: str) -> str:
        return self.zh if locale.startswith("zh") else self.en


@dataclass(slots=True)
class Understood:
    """One turn. `about` is the place (from 0; −1 the last) of a shown item that it refers to."""

    text: str
    chinese: bool
    constraints: list[Constraint] = field(default_factory=list)
    rest: str = ""
    words: str = ""
    "The text without prices, negations and references: what is searched for."
    moves: set[str] = field(default_factory=set)
    "Critiques: cheaper, dearer, cheapest, dearest, more, goes, other:ROLE, reset, gift, hello, thanks, any; and what is no question about goods: service, who."
    about: int | None = None
    unliked: bool = False
    "Whether that one is refused."
    without: tuple[str, ...] = ()
    "Words of unwanted things that no attribute knows: goods whose text has them are left out."
    lacking: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    "Kinds of goods that were named and that no attribute of the catalogue has, each with all its names."
    notes: list[tuple[str, str]] = field(default_factory=list)
    "What should be said of it: a key of answer.WORDS, and what to put in."


def understand(text: str, values: Values) -> Understood:
    """Never fails, whatever the text."""
    cleaned = clean(text[: 2 * MAX_CHARACTERS])[:MAX_CHARACTERS]
    out = Understood(cleaned, is_cjk(cleaned))
    if len(text) > MAX_CHARACTERS:
        out.notes.append(("long", str(MAX_CHARACTERS)))
    used = [False] * len(cleaned)
    plain = simplified(cleaned)
    _aged(plain, values, out, used)
    _beside(plain, values, used)
    _priced(plain, values, out, used)
    _sized(plain, values, out, used)
    _referred(plain, out, used)
    found = [token for token in tokens(cleaned) if not any(used[token.start : token.end])]
    hidden = list(used)  # what must not be searched for
    _read(cleaned, found, values, out, used, hidden)
    out.constraints = _joined(_for_whom(out.constraints, plain))[:CONSTRAINTS]
    _contradictions(out)
    if out.moves & {"service", "who"} and not out.constraints:
        return out  # what is left is no wish either
    out.rest = _left(found, used, cleaned)[:REST_CHARACTERS]
    out.words = _left(found, hidden, cleaned)[:REST_CHARACTERS]
    return out


# ---- numbers
def _aged(cleaned: str, values: Values, out: Understood, used: list[bool]) -> None:
    """For a 5 year old: that is a child; an age is no number to search for."""
    for match in _AGE.finditer(cleaned):
        used[match.start() : match.end()] = [True] * (match.end() - match.start())
        years = match["n"] or match["of"] or match["zh"]
        age = int(years) if years.isdigit() else {"两": 2}.get(years, _CHINESE.find(years) + 1)  # longer numerals are no child's
        if 0 < age <= CHILD and (children := [one for one in values.names.exact("kids") if one.role == "gender"]):
            out.constraints.append(_constraint(children, False, cleaned, *match.span()))


def _for_whom(found: list[Constraint], cleaned: str) -> list[Constraint]:
    """Without what an age says, and without who asks, where whom it is for was said too: a boy of ten; I'm a man, it is for my wife."""
    said = [one for one in found if one.role == "gender" and one.wanted]
    speaks = [match.span() for match in _SPEAKER.finditer(cleaned)]
    weak = [one for one in said if _AGE.fullmatch(one.said) or any(start <= one.start < end for start, end in speaks)]
    return [one for one in found if one not in weak] if len(weak) < len(said) else found


def _beside(cleaned: str, values: Values, used: list[bool]) -> None:
    for match in _GOES.finditer(cleaned):
        (start, end), inside = match.span(), tokens(match.group())
        if any(one.role == "category" for n in range(len(inside)) for one in values.names.at(inside, n)[0]):
            used[start:end] = [True] * (end - start)


def _priced(cleaned: str, values: Values, out: Understood, used: list[bool]) -> None:
    for price in prices(cleaned):
        used[price.start : price.end] = [True] * (price.end - price.start)
        said = cleaned[price.start : price.end].strip()
        if not values.priced:
            out.notes.append(("no prices", said))
            continue
        if price.currency and values.currency and price.currency != values.currency:
            out.notes.append(("currency", f"{price.currency}|{values.currency}"))
        out.constraints += bounds(price, said, values.currency)


def bounds(price: Price, said: str, currency: str) -> list[Constraint]:
    """A price as one or two constraints."""
    out = []
    for limit, op, en, zh in (
        (price.low, ">" if price.strict_low else ">=", "over" if price.strict_low else "from", "高于" if price.strict_low else "不低于"),
        (price.high, "<" if price.strict_high else "<=", "under" if price.strict_high else "up to", "低于" if price.strict_high else "不超过"),
    ):
        if limit is not None:
            money = f"{digits(limit)} {currency}".strip()
            out.append(Constraint("price", op, (limit,), "price", said, price.start, price.end, f"{en} {money}", f"{zh} {money}"))  # type: ignore[arg-type]
    return out


def _sized(cleaned: str, values: Values, out: Understood, used: list[bool]) -> None:
    attribute = next((name for name, role in values.roles.items() if role == "size"), None)
    for match in _SIZE.finditer(cleaned):
        if any(used[match.start() : match.end()]):
            continue
        size = next(group for group in match.groups() if group)
        there = [value.text for value in values.of.get(attribute or "", ()) if value.text.lower() == size]
        used[match.start() : match.end()] = [True] * (match.end() - match.start())
        if attribute is None or not there:
            out.notes.append(("no size", size.upper()))
            continue
        out.constraints.append(Constraint(attribute, "=", (there[0],), "size", match.group().strip(), *match.span(), f"size {there[0]}", f"{there[0]} 码"))


def _referred(cleaned: str, out: Understood, used: list[bool]) -> None:
    match = _ORDINAL.search(cleaned)
    if match and not any(used[match.start() : match.end()]):
        out.unliked = bool(_UNLIKED.search(cleaned[: match.start()]))
        word, number, chinese = match.groups()
        digits = number or (chinese if chinese and chinese.isdigit() else "")
        if digits and not int(digits):
            return  # before the first there is none; -1 would be the last
        out.about = int(digits) - 1 if digits else listed("ordinals").index(word) if word else _CHINESE.index(chinese)
        used[match.start() : match.end()] = [True] * (match.end() - match.start())


# ---- names and negation
def _read(cleaned: str, found: list[Token], values: Values, out: Understood, used: list[bool], hidden: list[bool]) -> None:
    """Left to right; at each place the longest of all names and phrases wins."""
    n, negated, since, denied_by = 0, False, 0, ""
    joined = False  # whether "or" or "and" stands before this token
    recent: list[tuple[list[Value], int, int]] = []
    unknown: list[Token] = []
    refused: list[str] = []
    said = phrases()

    def mark(first: int, length: int, *, hide: bool) -> None:
        start, end = found[first].start, found[first + length - 1].end
        used[start:end] = [True] * (end - start)
        if hide:
            hidden[start:end] = [True] * (end - start)

    def close() -> None:
        nonlocal negated, unknown, refused
        if negated and unknown:
            out.without += (_joined_words(unknown, cleaned),)
            for token in unknown:
                used[token.start : token.end] = hidden[token.start : token.end] = [True] * (token.end - token.start)
        negated, unknown, refused = False, [], []

    while n < len(found):
        joined = bool(n) and said["or"].at(found, n - 1)[1] == 1
        if n and BREAKS & set(cleaned[found[n - 1].end : found[n].start]) - {"、"}:
            close()
            recent = []
        things, length = values.names.at(found, n)
        meant, reach = _phrase(found, n)
        words = cleaned[found[n].start : found[n + reach - 1].end] if reach else ""
        if meant == "harmless":
            mark(n, reach, hide=True)
            n += reach
            continue
        outside = _elsewhere(found, n, max(length, 0 if meant == "whole" else reach), values, cleaned, out)
        whole = max(outside, reach if meant == "whole" else 0)
        if whole:  # a thing of its own, whatever names lie inside it
            if negated:
                unknown += found[n : n + whole]
            n += whole
            continue
        if things and length >= reach and not (meant in ("not", "cheaper", "dearer") and reach >= length):
            chosen = broadest(things)
            start, end = found[n].start, found[n + length - 1].end
            before = cleaned[max(0, start - 3) : start]
            if chosen[0].role == "brand" and (cleaned[start:end].isdigit() or (n and found[n - 1].key in _OWN)):
                n += length  # a number, or "my boss"
                continue
            denied = negated or before.rstrip().endswith("non-")
            if negated and any(role != chosen[0].role for role in refused) and (chosen[0].role == "category" or not joined):
                close()  # "not black dresses" are dresses, "not black for women" is for women
                denied = False
            refused = [*refused, chosen[0].role] if denied else []
            out.constraints.append(_constraint(chosen, denied, cleaned, start, end))
            mark(n, length, hide=denied)
            unknown = []
            recent = [*recent[-3:], (chosen, start, end)]
            since = n + length
            n += length
            continue
        if meant == "not" and recent and not negated and words in listed("excluded") and _ends(cleaned, found, n, reach):
            _deny(out, recent[-1], hidden)
            mark(n, reach, hide=True)
            n += reach
            continue
        if meant == "not":
            close()
            negated, since, denied_by = True, n + reach, words
            mark(n, reach, hide=True)
            n += reach
            continue
        if meant == "excluded" and recent:
            if not (negated and denied_by == "除了"):
                _deny(out, recent[-1], hidden)
            mark(n, reach, hide=True)
            close()
            n += reach
            continue
        if meant == "but" and negated and n >= since:
            close()
        if meant == "other":
            step = _other(found, n, reach, values, out, "other")
            if step:
                mark(n, step, hide=True)
                n += step
                continue
            if said["more"].at(found, n)[1] == reach:  # "others"
                meant = "more"
        if meant == "any" and (step := _other(found, n, reach, values, out, "any")):
            mark(n, step, hide=True)
            n += step
            continue
        if meant in _MOVES:
            out.moves.add("cheaper" if negated and meant == "dearer" else meant)
            if meant in ("cheaper", "dearer"):
                close()  # "not too expensive": what follows is not denied
            mark(n, reach, hide=True)
            n += reach
            continue
        if meant in ("hello", "thanks") and _greets(cleaned, found, n, reach, values):
            out.moves.add(meant)
            mark(n, reach, hide=True)
            n += reach
            continue
        if meant == "like" and out.about is None:
            things_this, more = said["this"].at(found, n + reach) if n + reach < len(found) else ([], 0)
            if things_this:
                out.about = 0
                mark(n, reach + more, hide=True)
                n += reach + more
                continue
        if meant == "last":
            out.about = -1
            mark(n, reach, hide=True)
            n += reach
            continue
        _, filler = said["filler"].at(found, n)
        joins, joint = said["or"].at(found, n)
        if filler or joins:
            mark(n, max(filler, joint), hide=True)
            n += max(filler, joint)
            continue
        if negated:
            unknown.append(found[n])
        n += 1
    close()


_MOVES = frozenset({"cheaper", "dearer", "cheapest", "dearest", "more", "reset", "gift", "any", "goes", "service", "who"})
_MEANT = ("harmless", "whole", "cheapest", "dearest", "cheaper", "dearer", "goes", "service", "who", "other", "more", "reset", "not", "excluded", "any", "gift",
          "last", "like", "but", "hello", "thanks")  # fmt: skip


def _phrase(found: list[Token], n: int) -> tuple[str, int]:
    """Which phrase begins here, and how long it is; of equal ones the first of `_MEANT`."""
    best, reach = "", 0
    for meant in _MEANT:
        _, length = phrases()[meant].at(found, n)
        if length > reach:
            best, reach = meant, length
    return best, reach


def _elsewhere(found: list[Token], n: int, read: int, values: Values, cleaned: str, out: Understood) -> int:
    """Tokens of a kind of goods that this catalogue does not know, where its name is longer than what would be `read` here; 0 where there is none.

    面包 is no 包 and a key ring no ring. 跑鞋 is shoes: a catalogue's name inside counts where the other language says it too ("running shoes").
    """
    concepts, length = topics()["category"].concepts.at(found, n)
    if length <= read:
        return 0
    said = cleaned[found[n].start : found[n + length - 1].end]
    names = tuple(name for concept in concepts for name in topics()["category"].called[concept])
    others = [key(name) for name in names if is_cjk(name) != is_cjk(said)]
    for at in range(n, n + length):
        inside = [value for value in values.names.at(found, at)[0] if at + values.names.at(found, at)[1] <= n + length]
        if any(_holds(other, key(name)) for value in inside for name in value.names for other in others):
            return 0
    out.lacking.append((said, names))
    return length


def _holds(whole: tuple[str, ...], part: tuple[str, ...]) -> bool:
    return any(whole[n : n + len(part)] == part for n in range(len(whole) - len(part) + 1))


def _greets(cleaned: str, found: list[Token], n: int, reach: int, values: Values) -> bool:
    """Whether "hello" is one: it begins a clause, and what follows ends it or begins a wish. Hello Kitty is a brand."""
    if n and not BREAKS & set(cleaned[found[n - 1].end : found[n].start]):
        return False
    if _ends(cleaned, found, n, reach):
        return True
    return bool(values.names.at(found, n + reach)[1] or _phrase(found, n + reach)[1] or phrases()["filler"].at(found, n + reach)[1])


def _ends(cleaned: str, found: list[Token], n: int, reach: int) -> bool:
    """Whether a clause ends after these tokens."""
    after = n + reach
    return after >= len(found) or bool(BREAKS & set(cleaned[found[after - 1].end : found[after].start]))


def _other(found: list[Token], n: int, reach: int, values: Values, out: Understood, move: str) -> int:
    """ "another brand", 换个颜色, "any colour": which attribute it is about. Tokens read, 0 where none follows."""
    roles, length = values.called.at(found, n + reach) if n + reach < len(found) else ([], 0)
    if not roles:
        return 0
    out.moves.add("more" if roles[0] == "style" else f"{move}:{roles[0]}")
    return reach + length


def _deny(out: Understood, recent: tuple[list[Value], int, int], hidden: list[bool]) -> None:
    """黑色不要: the last value turns into its opposite."""
    values, start, end = recent
    for n, one in enumerate(out.constraints):
        if (one.start, one.end) == (start, end) and one.wanted:
            out.constraints[n] = _constraint(values, True, out.text, start, end)
            hidden[start:end] = [True] * (end - start)


def _constraint(chosen: list[Value], denied: bool, cleaned: str, start: int, end: int) -> Constraint:
    en, zh = (" / ".join({(name := value.label(chinese)).casefold(): name for value in chosen}.values()) for chinese in (False, True))
    made = Constraint(chosen[0].attribute, "=", tuple(value.text for value in chosen), chosen[0].role, cleaned[start:end], start, end, en, zh)
    return denial(made) if denied else made


def wanted(values: list[Value], said: str, cleaned: str) -> Constraint:
    """Values of one attribute that some words of a cleaned text stand for."""
    start = max(cleaned.find(said), 0)
    return _constraint(values, False, cleaned, start, start + len(said))


def denial(one: Constraint) -> Constraint:
    """Its opposite."""
    return replace(one, op="!=", en=f"not {one.en}", zh=f"不要{one.zh}")


def _joined(found: list[Constraint]) -> list[Constraint]:
    """Wanted values of one attribute in one sentence are alternatives: "red or blue"."""
    out: list[Constraint] = []
    for one in found:
        if any(other.id == one.id for other in out):
            continue
        same = next((n for n, other in enumerate(out) if one.wanted and other.wanted and other.attribute == one.attribute and other.role != "size"), None)
        if same is None:
            out.append(one)
            continue
        first = out[same]
        if narrower := _narrower(first, one):
            out[same] = narrower
            continue
        values = tuple(dict.fromkeys([*first.values, *one.values]))
        out[same] = replace(first, values=values, said=f"{first.said} / {one.said}", en=f"{first.en} / {one.en}", zh=f"{first.zh} / {one.zh}")
    return out


def _narrower(first: Constraint, second: Constraint) -> Constraint | None:
    """Of a category and one below it, the latter: "shoes, sports shoes"."""
    a, b = str(first.values[0]), str(second.values[0])
    if first.role != "category" or len(first.values) + len(second.values) > 2:
        return None
    return second if b.startswith(f"{a} >") else first if a.startswith(f"{b} >") else None


def _contradictions(out: Understood) -> None:
    """Says which of two constraints cannot hold together; the later one is kept."""
    kept: list[Constraint] = []
    for one in sorted(out.constraints, key=lambda c: c.start):
        for other in list(kept):
            if conflict(other, one):
                out.notes.append(("contradiction", f"{other.en}|{other.zh}|{one.en}|{one.zh}"))
                kept.remove(other)
        kept.append(one)
    out.constraints = [one for one in out.constraints if one in kept]


def conflict(a: Constraint, b: Constraint) -> bool:
    """Whether nothing can meet both."""
    if a.attribute != b.attribute:
        return False
    if a.role == "price":
        low, high = (a, b) if a.op in (">", ">=") else (b, a)
        if low.op not in (">", ">=") or high.op not in ("<", "<="):
            return False
        floor, ceiling = float(low.values[0]), float(high.values[0])
        return floor > ceiling or (floor == ceiling and (low.op == ">" or high.op == "<"))
    return a.wanted != b.wanted and bool(set(a.values) & set(b.values))


def _joined_words(found: list[Token], cleaned: str) -> str:
    return cleaned[found[0].start : found[-1].end]


def _left(found: list[Token], used: list[bool], cleaned: str) -> str:
    """The words that were not used, Chinese signs that stand together unseparated."""
    out, end = "", -1
    for token in found:
        if not any(used[token.start : token.end]):
            out += ("" if token.start == end and out else " ") + cleaned[token.start : token.end]
            end = token.end
    return out.strip()


def digits(value: str | float) -> str:
    """A number as it is written: all of its digits, up to four behind the point."""
    return value if isinstance(value, str) else f"{value:.4f}".rstrip("0").rstrip(".")


def _quoted(value: str | float) -> str:
    return digits(value) if not isinstance(value, str) else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
