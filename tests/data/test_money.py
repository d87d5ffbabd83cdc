"""Amounts as people write them."""

import pytest

from daogou.data.money import parse_money


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("15", (15.0, None)),
        ("15.00 USD", (15.0, "USD")),
        ("USD 15", (15.0, "USD")),
        ("$1,234.50", (1234.5, "USD")),
        ("1.234,50 €", (1234.5, "EUR")),
        ("12,50", (12.5, None)),
        ("1,234", (1234.0, None)),
        ("1,234,567", (1234567.0, None)),
        ("1.234.567", (1234567.0, None)),
        ("1'234.50 chf", (1234.5, "CHF")),
        ("1 234,50", (1234.5, None)),
        ("￥99", (99.0, "CNY")),
        ("99元", (99.0, "CNY")),
        ("-$5", (-5.0, "USD")),
        ("$-5.5", (-5.5, "USD")),
        (".5", (0.5, None)),
        ("5.", (5.0, None)),
        ("1.5000", (1.5, None)),
    ],
)
def test_amount(text: str, amount: tuple[float, str | None]) -> None:
    assert parse_money(text) == amount


@pytest.mark.parametrize("text", ["", "free", "5 apples", "$5 USD", "1,23,4", "1.2.3", "5-7", "1e5", "12 34 x", "--5"])
def test_no_amount(text: str) -> None:
    assert parse_money(text) is None
