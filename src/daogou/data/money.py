"""Amounts of money written by people: ``$1,234.50``, ``12,50 €``, ``15.00 USD``, ``￥99``, ``99元``."""

import re

SYMBOLS = {"$": "USD", "US$": "USD", "€": "EUR", "£": "GBP", "¥": "CNY", "￥": "CNY", "元": "CNY", "RMB": "CNY", "₽": "RUB", "₹": "INR", "₩": "KRW"}
_AMOUNT = re.compile(r"(?P<before>[^\d.,+-]*)(?P<sign>[+-]?)(?P<before2>[^\d.,+-]*)(?P<number>\d[\d.,'  \u202f]*|[.,]\d+)(?P<after>[^\d]*)")


def parse_money(text: str) -> tuple[float, str | None] | None:
    """(amount, ISO code of the currency or None), or None for what is no amount.

    The last of ``. ,`` that is followed by one or two digits, or by more than three, is the decimal sign; groups of three are thousands.
    """
    match = _AMOUNT.fullmatch(text.strip())
    if not match:
        return None
    marks = [mark for part in ("before", "before2", "after") if (mark := match[part].strip())]
    if len(marks) > 1:
        return None
    currency = None
    if marks:
        mark = marks[0].upper()
        currency = SYMBOLS.get(mark) or (mark if re.fullmatch(r"[A-Z]{3}", mark) else None)
        if currency is None:
            return None
    number = _decimal(match["number"])
    if number is None:
        return None
    return (-number if match["sign"] == "-" else number), currency


def _decimal(text: str) -> float | None:
    digits = re.sub(r"['  \u202f]", "", text)
    point = max(digits.rfind("."), digits.rfind(","))
    if point < 0:
        return float(digits)
    sign, fraction = digits[point], digits[point + 1 :]
    if digits.count(sign) > 1 or (sign == "," and len(fraction) == 3):  # 1,234 and 1.234.567
        whole, fraction = digits, ""
    else:
        whole = digits[:point]
    groups = re.split(r"[.,]", whole)
    if len(groups) > 1 and any(len(group) != 3 for group in groups[1:]):
        return None
    return float("".join(groups) + "." + (fraction or "0") if groups != [""] else "0." + fraction)
