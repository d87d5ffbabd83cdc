"""Prices in words: bounds, ranges and "about", with digits or Chinese numerals, in any currency. Rules alone read numbers; no encoder does."""

import re
from typing import NamedTuple

_CURRENCY = {
    "CNY": ("¥", "元", "块钱", "块", "人民币", "rmb", "cny", "yuan"),
    "USD": ("us$", "$", "usd", "dollars", "dollar", "bucks", "美元", "美金", "刀"),
    "EUR": ("€", "eur", "euros", "euro", "欧元"),
    "GBP": ("£", "gbp", "pounds", "英镑"),
    "INR": ("₹", "inr", "rupees", "rupee", "rs", "卢比"),
    "JPY": ("jpy", "yen", "日元"),
    "HKD": ("hk$", "hkd", "港币", "港元"),
}
_CODE = {word: code for code, words in _CURRENCY.items() for word in words}


def _apart(word: str) -> str:
    """A currency as a pattern: a Latin one is no part of a longer word (trousers 200 is no price in rs)."""
    before, after = word[0].isascii() and word[0].isalpha(), word[-1].isascii() and word[-1].isalpha()
    return ("(?<![a-z])" if before else "") + re.escape(word) + ("(?![a-z])" if after else "")


_CUR = "(?:" + "|".join(_apart(word) for word in sorted(_CODE, key=len, reverse=True)) + ")"
_DIGIT = {sign: n for n, sign in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
_UNIT = {"十": 10, "百": 100, "千": 1000, "万": 10_000}
_N = r"(?:\d{1,3}(?:,\d{3}){1,6}(?:\.\d{1,4})?|\d{1,10}(?:\.\d{1,4})?|[〇零一二两三四五六七八九十百千万]{0,8}[十百千万][〇零一二两三四五六七八九十百千万]{0,8})"
_UNITS = r"%|cm\b|mm\b|kg\b|g\b|ml\b|oz\b|inch|in\b|lbs?\b|years?\b|months?\b|days?\b|码|号|寸|英寸|厘米|公斤|斤|克|毫升|岁|天|个月|年"
_OTHER = rf"(?!\s*(?:{_UNITS}|\d|\.\d|,\d|e[+-]?\d))"
"""What says that a number is no price."""
_BARE = rf"(?:{_CUR}\s*)?{_N}\s*(?:k(?![a-z])|千|万)?(?:\s*{_CUR})?{_OTHER}"
_UNDER = (
    r"under|below|less than|at most|up to|no more than|not more than|not over|max(?:imum)?|within|cheaper than|lower than|(?:my |a |the )?budget(?: of| is|:)?"
    r"|<=?|不要超过|别超过|不超过|低于|少于|小于|最多|不高于|预算(?:是|在|大概)?|不到"
)
_OVER = r"over|above|more than|at least|no less than|not less than|min(?:imum)?|starting (?:at|from)|>=?|高于|超过|大于|不低于|至少|不少于|最少"
_ABOUT_PRICE = r"(?:budget|priced?|costing)(?: is| of| between| from|:)?|(?:预算|价格|价位|价钱)(?:是|在|大概|:)?"
_RULES = [
    ("between", re.compile(rf"(?:(?:between|from)\s*)(?P<a>{_BARE})\s*(?:and|to|-|~|–)\s*(?P<b>{_BARE})")),
    ("between", re.compile(rf"(?:{_ABOUT_PRICE})\s*(?P<a>{_BARE})\s*(?:and|to|-|~|–|到|至)\s*(?P<b>{_BARE})(?:\s*之间)?")),
    ("between", re.compile(rf"(?P<a>{_BARE})\s*(?:to|-|~|–|到|至)\s*(?P<b>{_BARE})(?P<sure>\s*之间)?")),
    ("about", re.compile(rf"(?:{_ABOUT_PRICE})\s*(?P<a>{_BARE})\s*(?:左右|上下|or so|give or take)")),
    ("under", re.compile(rf"(?:{_UNDER})\s*(?P<a>{_BARE})(?:\s*(?:以内|以下|之内))?")),
    ("under", re.compile(rf"(?P<a>{_BARE})\s*(?:以内|以下|之内|以里|内|封顶|or less|or under|max(?:imum)?\b|at most|tops)")),
    ("over", re.compile(rf"(?:{_OVER})\s*(?P<a>{_BARE})")),
    ("over", re.compile(rf"(?P<a>{_BARE})\s*(?:以上|起|or more|and up|\+)")),
    ("about", re.compile(rf"(?:around|about|approximately|roughly|大概|大约|差不多)\s*(?P<a>{_BARE})")),
    ("about", re.compile(rf"(?P<a>{_BARE})\s*(?:左右|上下)")),
    ("about", re.compile(rf"(?P<a>{_BARE})")),
]
_LOOSE = (_RULES[2][1], _RULES[-1][1])
"""Which need a currency to be prices."""
_LESS = ("less than", "below", "under", "低于", "少于", "小于", "不到", "cheaper than", "lower than")
_MORE = ("more than", "over", "above", "高于", "超过", "大于")
ABOUT = 0.2
"""How far from "about" a price may be."""


class Price(NamedTuple):
    """Bounds said in a text; None = none. `currency` is "" where none was named."""

    low: float | None
    high: float | None
    strict_low: bool
    strict_high: bool
    currency: str
    start: int
    end: int


def prices(cleaned: str) -> list[Price]:
    """All prices said in a cleaned text; no two overlap, and the surest reading wins."""
    out: list[Price] = []
    taken = [False] * len(cleaned)
    for how, pattern in _RULES:
        for match in pattern.finditer(cleaned):
            start, end = match.span()
            if any(taken[start:end]) or (start and cleaned[start - 1].isascii() and cleaned[start - 1].isalnum() and match.group()[0].isalnum()):
                continue
            found = _read(how, match, anchored=match.re not in _LOOSE)
            if found is not None:
                out.append(found)
                taken[start:end] = [True] * (end - start)
    return sorted(out, key=lambda price: price.start)


def _read(how: str, match: re.Match[str], *, anchored: bool) -> Price | None:
    first, currency = amount(match["a"])
    second, other = amount(match["b"]) if how == "between" else (first, "")
    currency = currency or other
    if not (anchored or currency or match.groupdict().get("sure")) or first is None or second is None:
        return None  # a number alone is no price
    start, end = match.span()
    said = match.group()
    if how == "between":
        return Price(min(first, second), max(first, second), False, False, currency, start, end)
    if how == "under":
        return Price(None, first, False, said.startswith(_LESS), currency, start, end)
    if how == "over":
        return Price(first, None, said.startswith(_MORE), False, currency, start, end)
    return Price(round(first * (1 - ABOUT), 2), round(first * (1 + ABOUT), 2), False, False, currency, start, end)


def amount(text: str) -> tuple[float | None, str]:
    """Number and currency code of ``¥1,200``, ``2k``, ``五百块``."""
    found = re.search(_CUR, text)
    number = re.search(rf"({_N})\s*(k(?![a-z])|千|万)?", text)
    if number is None:
        return None, ""
    digits, times = number.group(1), {"k": 1000, "千": 1000, "万": 10_000}.get(number.group(2) or "", 1)
    value = float(digits.replace(",", "")) if digits[0].isdigit() else float(_chinese(digits))
    return (value * times if value * times < 1e12 else None), _CODE[found.group()] if found else ""


def _chinese(numeral: str) -> int:
    """``一千二百`` → 1200, ``两百五`` → 250."""
    total = part = 0
    digit, last = 0, 1
    for sign in numeral:
        if sign in _DIGIT:
            digit = _DIGIT[sign]
            last = 1 if sign in "零〇" else last
            continue
        unit = _UNIT[sign]
        if unit == 10_000:
            total, part = (total + part + (digit or (0 if part else 1))) * unit, 0
        else:
            part += (digit or 1) * unit
        digit, last = 0, unit
    return total + part + digit * (last // 10 if last >= 100 else 1)
