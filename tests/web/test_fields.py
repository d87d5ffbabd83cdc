import pytest

from daogou.data.rows import Item
from daogou.serve.web import fields
from daogou.serve.web.page import own_path


@pytest.mark.parametrize(
    ("text", "calm"),
    [
        ("SOFT DRINKS", "Soft Drinks"),
        ("FRZN MEAT/MEAT DINNERS", "Frzn Meat/Meat Dinners"),
        ("BREAD:ITALIAN/FRENCH", "Bread:Italian/French"),
        ("FRUITS OF THE SEA", "Fruits of the Sea"),
        ("HERSHEY'S BAR", "Hershey's Bar"),
        ("iPhone 15", "iPhone 15"),
        ("Soft DRINKS", "Soft DRINKS"),
        ("导购", "导购"),
        ("22", "22"),
        ("", ""),
    ],
)
def test_catalogues_that_shout_are_calmed(text: str, calm: str) -> None:
    assert fields.neat(text) == calm


def test_a_reason_is_calmed_only_where_titles_shout() -> None:
    shouting, calm = Item(item_id="1", title="WHITE BREAD"), Item(item_id="1", title="White Bread")
    assert fields.reason("Because you bought SOFT DRINKS", shouting) == "Because you bought Soft Drinks"
    assert fields.reason("Because you bought SOFT DRINKS", calm) == "Because you bought SOFT DRINKS"
    assert fields.reason("因为你买过“SOFT DRINKS”", shouting) == "因为你买过“Soft Drinks”"
    assert fields.reason("Popular", None) == "Popular"


def test_a_currency_is_no_shouting() -> None:
    assert fields.reason("Meets: PASTA, 3.07 USD", Item(item_id="1", title="CLASSIC PASTA", currency="USD")) == "Meets: Pasta, 3.07 USD"


@pytest.mark.parametrize(("value", "text"), [(2016.0, "2016"), (1.5, "1.5"), (7, "7"), (["a", "b"], "a, b"), ("a|b", "a, b"), (True, "True")])
def test_facts(value: object, text: str) -> None:
    assert fields.fact(value) == text


@pytest.mark.parametrize(
    ("amount", "currency", "text"), [(3.5, "USD", "$3.50"), (1234.0, "CNY", "¥1,234.00"), (2.0, "SEK", "2.00 SEK"), (2.0, "", "2.00"), (None, "USD", "")]
)
def test_prices(amount: float | None, currency: str, text: str) -> None:
    assert fields.price(amount, currency) == text


@pytest.mark.parametrize(
    ("text", "amount"), [("5", 5.0), (" $4.50 ", 4.5), ("3,5", 3.5), ("", None), ("five", None), ("-1", None), ("nan", None), ("inf", None), ("1e400", None)]
)
def test_a_price_is_read_as_people_type_it(text: str, amount: float | None) -> None:
    assert fields.amount(text) == amount


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("/item/7?r=1", "/item/7?r=1"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example/", "/"),
        ("", "/"),
        ("/a\r\nset-cookie: x", "/"),
    ],
)
def test_redirects_stay_here(path: str, own: str) -> None:
    assert own_path(path) == own


@pytest.mark.parametrize(("value", "text"), [(3.5, "3.5"), (4.0, "4"), (1e6, "1000000"), (0.999, "1"), (0.0, "0"), (None, "")])
def test_a_price_is_written_without_needless_digits(value: float | None, text: str) -> None:
    assert fields.plain(value) == text
