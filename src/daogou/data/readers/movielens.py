"""MovieLens as GroupLens publishes it: the folder of the 100k set (``u.data u.item u.user``) or of the 1M set (``*.dat``, ratings also as Parquet).

F. M. Harper and J. A. Konstan, The MovieLens Datasets: History and Context, ACM TiiS 5(4), 2015. The README files of the sets describe the columns.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from daogou.data.quarantine import CELL_CHARS, Rejected, shorten
from daogou.data.readers.batch import Batch
from daogou.data.readers.table import given, read_parquet
from daogou.errors import DataError

GENRES = ("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical",
          "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western")  # fmt: skip
OCCUPATIONS = (
    "other", "academic/educator", "artist", "clerical/admin", "college/grad student", "customer service", "doctor/health care", "executive/managerial",
    "farmer", "homemaker", "K-12 student", "lawyer", "programmer", "retired", "sales/marketing", "scientist", "self-employed", "technician/engineer",
    "tradesman/craftsman", "unemployed", "writer",
)  # fmt: skip
RATING = ("user_id", "item_id", "value", "time")


def read(path: Path | None, *, table: str) -> Iterator[Batch]:
    """All tables of a folder, or of a file in it. Ratings are the `value` of events without a name (the importer gives them the scenario's strongest).

    Items carry title, category (the first genre), `genres`, `year`; users `age`, `gender`, `occupation`, `zip`.

    Raises:
        DataError: none of the files is there.
    """
    given_path = given(path)
    folder = given_path if given_path.is_dir() else given_path.parent
    parts: list[tuple[str, Callable[[Path], Batch]]] = [("u.item", _items_100k), ("movies.dat", _items_1m), ("u.user", _users_100k), ("users.dat", _users_1m)]
    found = False
    for name, read_part in parts:
        if (folder / name).exists():
            found = True
            yield read_part(folder / name)
    for name, separator in (("u.data", "\t"), ("ratings.dat", "::")):
        if (folder / name).exists():
            yield _lines(folder / name, "events", separator, RATING)
            return
    if (folder / "ratings.parquet").exists():
        for batch in read_parquet(folder / "ratings.parquet", table="events"):
            rows = batch.rows.rename({"movie_id": "item_id", "rating": "value", "timestamp": "time"})
            yield Batch("events", rows, batch.lines, batch.file, share=batch.share, nameless=True)
        return
    if not found:
        raise DataError("none of the MovieLens files is here", expected="u.data u.item u.user, or ratings.dat movies.dat users.dat", where=str(folder))


def _lines(path: Path, table: str, separator: str, names: tuple[str, ...]) -> Batch:
    """A file without header or quotes, Latin-1 as all of them are."""
    good, lines, rejected = [], [], []
    for line, text in enumerate(path.read_text("latin-1").split("\n"), 1):
        if not text.strip():
            continue
        cells = text.removesuffix("\r").split(separator)
        if len(cells) == len(names):
            good.append(cells)
            lines.append(line)
        else:
            expected = f"{len(names)} columns"
            rejected.append(Rejected(str(path), line, "", "wrong number of columns", f"{len(cells)} columns", expected, shorten(text, CELL_CHARS)))
    rows = pl.DataFrame([pl.Series(name, [cells[i] for cells in good], dtype=pl.String) for i, name in enumerate(names)])
    return Batch(table, rows, pl.Series(lines, dtype=pl.Int64), str(path), tuple(rejected), share=1.0, nameless=table == "events")


def _with(batch: Batch, rows: pl.DataFrame) -> Batch:
    return Batch(batch.table, rows, batch.lines, batch.file, batch.rejected, batch.notes, batch.share)


def _items_100k(path: Path) -> Batch:
    batch = _lines(path, "items", "|", ("item_id", "title", "created", "video", "url", *GENRES))
    genres = pl.concat_list([pl.when(pl.col(genre) == "1").then(pl.lit(genre)) for genre in GENRES]).list.drop_nulls()
    return _with(batch, batch.rows.select("item_id", "title", "created", genres=genres.list.join("|")).pipe(_described))


def _items_1m(path: Path) -> Batch:
    batch = _lines(path, "items", "::", ("item_id", "title", "genres"))
    return _with(batch, _described(batch.rows))


def _described(rows: pl.DataFrame) -> pl.DataFrame:
    title, year = pl.col("title"), r"\s*\((\d{4})\)\s*$"
    return rows.with_columns(title=title.str.replace(year, ""), year=title.str.extract(year), category=pl.col("genres").str.split("|").list.first())


def _users_100k(path: Path) -> Batch:
    return _lines(path, "users", "|", ("user_id", "age", "gender", "occupation", "zip"))


def _users_1m(path: Path) -> Batch:
    batch = _lines(path, "users", "::", ("user_id", "gender", "age", "occupation", "zip"))
    names = {str(i): name for i, name in enumerate(OCCUPATIONS)}
    return _with(batch, batch.rows.with_columns(pl.col("occupation").replace(names)))
