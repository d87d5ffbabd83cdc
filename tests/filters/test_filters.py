"""The filter language against a naive row-by-row reading of the same tree."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daogou.errors import FilterError
from daogou.filters import MAX_DEPTH, MAX_LENGTH, All, Any_, Compare, In, Known, Node, Not, Numbers, Ref, Words, compile, path_levels

COLUMNS = {"item_id": "text", "price": "number", "category": "category", "brand": "tag", "available": "flag", "created": "time", "颜色": "tag"}
USERS = {"budget": "number", "favourite": "tag"}
ROWS: list[dict[str, Any]] = [
    {"item_id": "a", "price": 100.0, "category": "Shoes > Running", "brand": "X", "available": 1.0, "created": 1.6e15, "颜色": "红|蓝"},
    {"item_id": "b", "price": 500.0, "category": "Shoes", "brand": "Y", "available": 0.0, "created": 1.7e15, "颜色": "红"},
    {"item_id": "c", "price": 501.0, "category": "Shoe", "brand": None, "available": 1.0, "created": None, "颜色": None},
    {"item_id": "d", "price": None, "category": None, "brand": "Z's", "available": None, "created": 0.0, "颜色": "蓝|绿"},
    {"item_id": "e", "price": -3.5, "category": "Hats > Sun > Straw", "brand": 'say "hi"', "available": 1.0, "created": 1.65e15, "颜色": "绿"},
]


class Rows:
    """The rows above as columns."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        self.columns = {name: self.built(name, kind) for name, kind in COLUMNS.items()}

    def built(self, name: str, kind: str) -> Numbers | Words:
        values = [row[name] for row in self.rows]
        if kind in ("number", "time", "flag"):
            return Numbers(np.array([np.nan if value is None else value for value in values], np.float64))
        return Words(values, kind)

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> Numbers | Words:
        return self.columns[name]


TABLE = Rows(ROWS)


def shown(text: str, known: Known = Known()) -> str:
    """Ids of the rows that a filter allows."""
    mask = compile(text, COLUMNS, users=USERS).mask(TABLE, known)
    return "".join(row["item_id"] for row, ok in zip(ROWS, mask, strict=True) if ok)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "abcde"),
        ("  ", "abcde"),
        ("price <= 500", "abe"),
        ("price<=500 and price>=100", "ab"),
        ("price = 501", "c"),
        ("price != 501", "abe"),
        ("price < -3", "e"),
        ("price > 1e2", "bc"),
        ('category = "Shoes"', "ab"),
        ('category = "Shoes > Running"', "a"),
        ('category = "Shoes>Running"', "a"),
        ('category = "Hats > Sun"', "e"),
        ('category != "Shoes"', "ce"),
        ('not category = "Shoes"', "cde"),
        ('brand in ["X", "Y"]', "ab"),
        ('brand not in ["X", "Y"]', "cde"),
        ("brand in []", ""),
        ('brand = "Z\'s"', "d"),
        ("brand = 'say \"hi\"'", "e"),
        (r'brand = "say \"hi\""', "e"),
        ('颜色 = "红"', "ab"),
        ("颜色 in ['蓝', '绿']", "ade"),
        ("available", "ace"),
        ("not available", "bd"),
        ("available = false", "b"),
        ('created > "2020-01-01"', "abe"),
        ('created < "2020-09-13T12:26:41Z"', "ad"),
        ("created = 0", "d"),
        ('price <= 500 and category = "Shoes" and not brand in ["X"]', "b"),
        ('price > 500 or brand = "X" and price < 50', "c"),
        ('(price > 500 or brand = "X") and available', "ac"),
        ("NOT (price = 1)", "abcde"),
        ('price > 500 AND available OR brand = "Y"', "bc"),
    ],
)
def test_means(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_what_is_known_at_request_time() -> None:
    known = Known(page=("a", "zz"), user={"budget": 200, "favourite": "Y"}, item={"price": 501.0, "颜色": "蓝|绿", "category": "Shoes > Running"})
    assert shown("item_id not in $cart", known) == "bcde"
    assert shown("item_id in $cart", known) == "a"
    assert shown("price <= $user.budget", known) == "ae"
    assert shown("brand = $user.favourite", known) == "b"
    assert shown("price < $item.price", known) == "abe"
    assert shown("颜色 = $item.颜色", known) == "ade"
    assert shown("category = $item.category", known) == "a"


def test_the_first_steps_of_the_path_of_the_item_on_the_page() -> None:
    running = Known(item={"category": "Shoes > Running > Trail"})
    assert [shown(f"category = $item.category[{steps}]", running) for steps in (1, 2, 3)] == ["ab", "a", ""]
    assert shown("not category = $item.category[1]", running) == "cde"
    assert shown("category = $item.category[3]", Known(item={"category": "Shoes"})) == "ab"  # a path that is shorter
    assert shown("category = $item.category[1]") == ""
    with pytest.raises(FilterError, match="which is a path"):
        compile("brand = $item.brand[1]", COLUMNS)


def test_what_is_not_known_compares_false() -> None:
    for text in ("price <= $user.budget", "price != $user.budget", "brand = $item.brand", "brand != $item.brand"):
        assert shown(text) == ""
    assert shown("not price <= $user.budget") == "abcde"
    assert shown("item_id in $cart") == ""


def test_a_value_of_the_wrong_type_at_request_time_compares_false() -> None:
    assert shown("price <= $user.budget", Known(user={"budget": "much"})) == ""
    assert shown("brand = $user.favourite", Known(user={"favourite": 7})) == ""
    assert shown("brand = $user.favourite", Known(user={"favourite": ["X"]})) == ""


def test_only_filters_without_references_are_fixed() -> None:
    assert compile("price < 5", COLUMNS).fixed
    assert not compile("price < 5 and item_id in $cart", COLUMNS).fixed
    assert not compile("price < $item.price", COLUMNS).fixed


@pytest.mark.parametrize(
    ("text", "at", "says"),
    [
        ("prise < 5", 1, "did you mean 'price'"),
        ("price < 5 and bland = 'X'", 15, "did you mean 'brand'"),
        ("price < $user.bugdet", 9, "did you mean '$user.budget'"),
        ("price < $shop.price", 9, "$user.NAME or $item.NAME"),
        ('price < "5"', 9, "a number"),
        ("brand = 5", 9, "a text in quotes"),
        ("brand = X", 9, 'a text needs quotes: "X"'),
        ("brand < 'X'", 7, "has no order"),
        ("available > false", 11, "has no order"),
        ("available = 1", 13, "true or false"),
        ("price < $user.favourite", 9, "a number"),
        ("created > 'yesterday'", 11, "a time such as"),
        ("(price < 5", 11, "')' for the '(' of character 1"),
        ("price < 5)", 10, "and, or, or the end"),
        ("price < 5 price", 11, "and, or, or the end"),
        ("price", 6, "one of = !="),
        ("price <", 8, "a number"),
        ("price not 5", 11, "in"),
        ("and price < 5", 1, "the name of an attribute"),
        ("brand in ['X' 'Y']", 15, "',' or ']'"),
        ("brand in ['X'", 14, "',' or ']'"),
        ("brand in $user.favourite", 10, "write brand = $user.favourite"),
        ("brand in $cart", 10, "item_id in $cart"),
        ("brand in [$user.favourite]", 11, "a value"),
        ("brand = 'X", 9, "the closing quote"),
        ("price < 1e999", 9, "a finite number"),
        ("price < 5; drop", 10, "a name, a value"),
        ("$cart", 1, "the name of an attribute"),
    ],
)
def test_mistakes_are_named_with_their_place(text: str, at: int, says: str) -> None:
    with pytest.raises(FilterError) as e:
        compile(text, COLUMNS, users=USERS)
    assert f"character {at}:" in str(e.value)
    assert says in str(e.value)
    assert e.value.field == "filter"


def test_a_wrong_name_answers_with_the_names_that_exist() -> None:
    with pytest.raises(FilterError, match="available, brand, category, created, item_id, price, 颜色"):
        compile("weight < 5", COLUMNS)


def test_length_depth_and_lists_are_bounded() -> None:
    compile("(" * (MAX_DEPTH - 1) + "available" + ")" * (MAX_DEPTH - 1), COLUMNS)
    for text in ("(" * MAX_DEPTH + "available" + ")" * MAX_DEPTH, "not " * MAX_DEPTH + "available"):
        with pytest.raises(FilterError, match="nested too deeply"):
            compile(text, COLUMNS)
    with pytest.raises(FilterError, match="at most"):
        compile("price in [" + "1," * 1000 + "1]", COLUMNS)
    with pytest.raises(FilterError, match="at most"):
        compile("available" + " " * MAX_LENGTH, COLUMNS)
    wide = " or ".join(["available"] * 300)  # many conditions side by side are no depth
    assert compile(wide, COLUMNS).mask(TABLE).tolist() == [True, False, True, False, True]


# ---- against the naive reading
words = st.sampled_from(["X", "Y", "Z's", "红", "蓝", "红|绿", "Shoes", "Shoes > Running", "Hats", "", "nothing"])
numbers = st.sampled_from([-3.5, 0.0, 100.0, 500.0, 501.0])


def comparisons() -> st.SearchStrategy[Node]:
    number = st.builds(Compare, st.just("price"), st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), numbers | st.just(Ref("user", "budget")))
    word = st.builds(Compare, st.sampled_from(["brand", "category", "颜色"]), st.sampled_from(["=", "!="]), words | st.just(Ref("user", "favourite")))
    flag = st.builds(Compare, st.just("available"), st.sampled_from(["=", "!="]), st.booleans())
    within = st.builds(In, st.sampled_from(["brand", "category", "颜色"]), st.lists(words, max_size=3).map(tuple))
    page = st.just(In("item_id", None))
    return number | word | flag | within | page


def deeper(node: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    some = st.lists(node, min_size=2, max_size=3).map(tuple)
    return st.builds(Not, node) | st.builds(All, some) | st.builds(Any_, some)


trees = st.recursive(comparisons(), deeper, max_leaves=8)


def written(node: Node) -> str:
    """The tree as someone would write it."""
    match node:
        case Not(of):
            return f"not ({written(of)})"
        case All(of):
            return " and ".join(f"({written(one)})" for one in of)
        case Any_(of):
            return " or ".join(f"({written(one)})" for one in of)
        case In(name, values):
            return f"{name} in $cart" if values is None else f"{name} in [{', '.join(literal(v) for v in values)}]"
        case Compare(name, op, value):
            return f"{name} {op} " + (f"${value.owner}.{value.name}" if isinstance(value, Ref) else literal(value))


def literal(value: float | str | bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)


def naive(node: Node, row: dict[str, Any], known: Known) -> bool:
    """One row at a time, from the language's description."""
    match node:
        case Not(of):
            return not naive(of, row, known)
        case All(of):
            return all(naive(one, row, known) for one in of)
        case Any_(of):
            return any(naive(one, row, known) for one in of)
        case In(name, None):
            return row[name] in known.page
        case In(name, values):
            return row[name] is not None and any(same(name, row[name], value) for value in values or ())
        case Compare(name, op, value):
            if isinstance(value, Ref):
                value = known.user.get(value.name)
            found = row[name]
            if found is None or value is None:
                return False
            if isinstance(value, str):
                return same(name, found, value) == (op == "=")
            return {"=": found == value, "!=": found != value, "<": found < value, "<=": found <= value, ">": found > value, ">=": found >= value}[op]


def same(name: str, found: str, value: str) -> bool:
    if COLUMNS[name] == "category":
        return value in path_levels(found)
    return value == found or bool(set(value.split("|")) & set(found.split("|")))


@settings(max_examples=250, deadline=None)
@given(node=trees, budget=numbers | st.none(), favourite=words | st.none(), page=st.lists(st.sampled_from("abcdez"), max_size=3))
def test_equals_the_naive_reading(node: Node, budget: float | None, favourite: str | None, page: list[str]) -> None:
    known = Known(tuple(page), {"budget": budget, "favourite": favourite or None})
    mask = compile(written(node), COLUMNS, users=USERS).mask(TABLE, known)
    assert mask.tolist() == [naive(node, row, known) for row in ROWS]


SIGNS = ["<", "<=", "=", "!=", "(", ")", "[", "]", ",", ".", "\\"]
OTHERS = ["in", "not", "and", "or", "1", "-2.5", "'x'", '"y"', "$cart", "$user.budget", "$item.price", "红", "٣"]
PIECES = st.sampled_from([*COLUMNS, *SIGNS, *OTHERS])


@settings(max_examples=400, deadline=None)
@given(st.text() | st.lists(PIECES).map(" ".join))
def test_nothing_but_a_filter_error_ever_comes_out(text: str) -> None:
    try:
        found = compile(text, COLUMNS, users=USERS)
    except FilterError:
        return
    assert found.mask(TABLE, Known(("a",), {"budget": 3}, {"price": 4.0})).shape == (len(ROWS),)


# ---- columns that change
def test_columns_change_and_grow_in_place() -> None:
    price, brand = Numbers(np.array([1.0, 2.0])), Words(["A", None], "tag")
    price.set(0, None)
    price.set(40, 7.0)
    brand.set(1, "B|A")
    brand.set(40, "C")
    assert len(price.values_I) == len(brand.codes_I) == 41
    assert np.flatnonzero(price.compare(">=", 2)).tolist() == [1, 40]
    assert np.flatnonzero(brand.any_of(["A"])).tolist() == [0, 1]
    assert np.flatnonzero(brand.any_of(["C"])).tolist() == [40]
    assert brand.known().sum() == 3


def test_texts_of_some_rows_are_counted() -> None:
    column = Words(["a", None, "b|c", "a", "d"])
    assert column.counts(np.array([0, 1, 2, 3, 7])) == {"a": 2, "b|c": 1} and column.counts(np.array([1])) == {} == Words([]).counts(np.array([0]))
    column.set(6, "b|c")
    assert column.counts(np.arange(7)) == {"a": 2, "b|c": 2, "d": 1}
