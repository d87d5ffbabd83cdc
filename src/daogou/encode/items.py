"""Attributes of items as one vector each: what two goods share, whatever kind of attribute says it.

Every attribute becomes a block of unit rows, times the root of its weight; the product of two items' vectors is therefore the weighted sum of how much they
agree in each attribute. What is missing is a value of its own for numbers, tags and categories; for texts and photos there is no vector, and the row is 0.

Axes: I items, T tokens (values of tags, steps of category paths, bins of numbers), D dimensions.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
import scipy.sparse as sp
import structlog
from msgspec import Meta, field
from numpy.typing import NDArray

from daogou import plugins
from daogou.config import Config, hyper
from daogou.contract import ITEMS, Encoder, Progress, Run, Scores
from daogou.encode import Learner, cache, check_kind, encoder, text_encoder
from daogou.errors import MissingExtra, TrainingError

log = structlog.get_logger("daogou.encode")

LEFT_OUT = ("item_id", "available", "currency")
"""Fixed columns that say nothing of what the item is like."""
BINS = 10  # knots of a number, at equal shares of the items
TOKEN_DIMENSIONS = 192
MISSING = "\0"
PATH = " > "


class Blocks(Config, frozen=True):
    """Which encoders read the attributes, and what each kind weighs."""

    text_encoder: Annotated[str, Meta(description="Encoder of texts.")] = "use"
    image_encoders: Annotated[tuple[str, ...], Meta(description="Encoders of photos; empty = photos are not looked at.")] = ()
    encoders: Annotated[dict[str, dict[str, Any]], Meta(description="Settings of encoders by name, such as the address of an embeddings server.")] = field(
        default_factory=dict
    )
    text: Annotated[float, hyper("Weight of a text.", 0, 2, ge=0)] = 1.0
    category: Annotated[float, hyper("Weight of a category path.", 0, 2, ge=0)] = 0.25
    tag: Annotated[float, hyper("Weight of a tag or flag.", 0, 2, ge=0)] = 0.3
    number: Annotated[float, hyper("Weight of a number.", 0, 2, ge=0)] = 0.02
    time: Annotated[float, hyper("Weight of a time.", 0, 2, ge=0)] = 0.0
    image: Annotated[float, hyper("Weight of a photo, for each of its encoders.", 0, 2, ge=0)] = 0.5
    weights: Annotated[dict[str, float], Meta(description="Weight of single attributes, where it differs from that of their kind.")] = field(
        default_factory=lambda: {"description": 0.25}
    )
    dim: Annotated[int, Meta(ge=1, description="Dimensions kept: the strongest of all blocks together.")] = 384


def item_vectors(
    table: pl.DataFrame,
    kinds: Mapping[str, str],
    how: Blocks,
    *,
    cached: Path | None = None,
    photos: Path | None = None,
    progress: Progress | None = None,
    own: Mapping[str, Encoder] = {},
) -> Scores:
    """[I, D] one vector a row of `table`; 0 where nothing at all is known. The same table gives the same bytes.

    Args:
        kinds: of the attributes beyond contract.ITEMS, by name. Columns without a kind are left out.
        cached: directory of cached vectors.
        photos: folder in which the photos lie that items name; None = photos are not looked at.
        own: what `taught` taught. An encoder that must learn first and is not among them takes no part.
    """
    dense: list[Scores] = []
    tokens: list[sp.csr_matrix] = []
    for name, kind in _kinds(kinds).items():
        weight = how.weights.get(name, how.tag if kind == "flag" else getattr(how, kind))
        if name not in table.columns or weight <= 0 or table[name].null_count() == len(table):
            continue
        root = np.float32(np.sqrt(weight))
        if kind == "text":
            one = check_kind(text_encoder(how.text_encoder, **how.encoders.get(how.text_encoder, {})), "text", "text_encoder")
            dense.append(root * cache.encode(one, table[name].cast(pl.String).fill_null("").to_list(), cached, progress)[0])
        elif kind == "image":
            dense += [root * block for block in _photographed(table[name], how, cached, photos, progress, own)]
        else:
            tokens.append(root * _tokens(table[name], kind))
    if tokens:
        dense.append(_reduced(sp.hstack(tokens).tocsr()))
    return _strongest(dense, len(table), how.dim)


def taught(table: pl.DataFrame, kinds: Mapping[str, str], how: Blocks, run: Run) -> dict[str, Encoder]:
    """The encoders of photos that learn from the shop's own (encode.Learner), taught by this table or found among those that were; a table without photos
    or without attributes teaches none, with a warning."""
    out: dict[str, Encoder] = {}
    learners = [(name, make) for name in how.image_encoders if isinstance(make := plugins.load("encoder", name), Learner)]
    images = [name for name, kind in _kinds(kinds).items() if kind == "image" and name in table.columns and table[name].null_count() < len(table)]
    if not learners or not images or run.photos is None or not run.photos.is_dir():
        return out
    labels = {name: _values(table[name]) for name, kind in _kinds(kinds).items() if kind in ("tag", "category") and name in table.columns}
    for name, make in learners:
        settings = {key: value for key, value in how.encoders.get(name, {}).items() if key != "file"}
        try:
            out[name] = check_kind(make.learned(_files(table[images[0]], run.photos), labels, settings, run), "image", "image_encoders")
        except (TrainingError, MissingExtra) as e:
            log.warning("an encoder could not be taught: photos go unseen by it", encoder=name, why=str(e))
    return out


def _kinds(more: Mapping[str, str]) -> dict[str, str]:
    """Kind of every attribute that may say what an item is like."""
    return {**{name: kind.rstrip("*") for name, kind in ITEMS.items() if name not in LEFT_OUT}, **more}


def _values(column: pl.Series) -> list[str | None]:
    """One value an item: the first of several."""
    if isinstance(column.dtype, pl.List):
        column = column.cast(pl.List(pl.String)).list.first()
    return [text.split("|")[0].strip() or None if text else None for text in column.cast(pl.String).to_list()]


def _files(names: pl.Series, photos: Path) -> Sequence[bytes]:
    from daogou.encode.photos import Gallery, Shelf  # an optional part: only who looks at photos needs it

    return Shelf(Gallery(photos), [name or "" for name in names.cast(pl.String).to_list()])


def _photographed(
    names: pl.Series, how: Blocks, cached: Path | None, photos: Path | None, progress: Progress | None, own: Mapping[str, Encoder]
) -> Iterator[Scores]:
    if photos is None or not how.image_encoders or not photos.is_dir():
        return
    files = _files(names, photos)
    for name in how.image_encoders:
        settings = how.encoders.get(name, {})
        if name not in own and "file" not in settings and isinstance(plugins.load("encoder", name), Learner):
            continue
        yield cache.encode(check_kind(own.get(name) or encoder(name, **settings), "image", "image_encoders"), files, cached, progress)[0]


# ---- tokens
def _tokens(values: pl.Series, kind: str) -> sp.csr_matrix:
    """[I, T] unit rows."""
    if kind in ("number", "time"):
        return _binned(values)
    if isinstance(values.dtype, pl.List):
        values = values.cast(pl.List(pl.String)).list.join("|")
    texts = values.cast(pl.String).to_list()
    return _rare_weigh_more([list(_steps(text) if kind == "category" else _tags(text)) for text in texts])


def _tags(text: str | None) -> Iterable[str]:
    return [part for tag in (text or "").split("|") if (part := tag.strip().casefold())] or [MISSING]


def _steps(path: str | None) -> Iterator[str]:
    """Every step from the root: goods share what their paths share, and a rare step weighs more than a common one."""
    parts = [part for step in (path or "").split(PATH.strip()) if (part := step.strip().casefold())]
    if not parts:
        yield MISSING
    for n in range(len(parts)):
        yield PATH.join(parts[: n + 1])


def _rare_weigh_more(rows: Sequence[Sequence[str]]) -> sp.csr_matrix:
    """ln(1 + I/df) for each token of a row, unit rows: agreement counts as much as it tells (Resnik 1995, with Salton's idf)."""
    frequency = Counter(token for row in rows for token in set(row))
    place = {token: t for t, token in enumerate(sorted(frequency))}
    index_N = np.array([place[token] for row in rows for token in row], np.int64)
    weight_T = np.array([np.log1p(len(rows) / frequency[token]) for token in place], np.float32)
    start_I = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return _unit(sp.csr_matrix((weight_T[index_N], index_N, start_I), shape=(len(rows), len(place))))


def _binned(values: pl.Series) -> sp.csr_matrix:
    """A number by its place among all: a soft step of one knot in `BINS`, so that near ones agree; the last token is "not known"."""
    if values.dtype == pl.Datetime:
        values = values.dt.timestamp("us")
    number_I = values.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    known_I = np.isfinite(number_I)
    sorted_N = np.sort(number_I[known_I])
    low, high = (np.searchsorted(sorted_N, number_I[known_I], side=side) for side in ("left", "right"))  # equal numbers share the middle of their places
    place_N = (low + high) / 2 / max(len(sorted_N), 1) * (BINS - 1)
    out_IT = np.zeros((len(number_I), BINS + 1), np.float32)
    out_IT[known_I, :BINS] = np.exp(-0.5 * (place_N[:, None] - np.arange(BINS)) ** 2)
    out_IT[~known_I, BINS] = 1.0
    return _unit(sp.csr_matrix(out_IT))


def _unit(matrix: sp.csr_matrix) -> sp.csr_matrix:
    matrix.sum_duplicates()
    length_I = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1))[:, 0])
    return sp.csr_matrix(sp.diags(1 / np.maximum(length_I, 1e-12)) @ matrix).astype(np.float32)


# ---- dimensions
def _reduced(tokens_IT: sp.csr_matrix) -> Scores:
    """[I, D] whose products are nearly those of the tokens: randomised subspace iteration (Halko, Martinsson, Tropp 2011, algorithm 4.4)."""
    if tokens_IT.shape[1] <= TOKEN_DIMENSIONS:
        return tokens_IT.toarray()
    draw_TD = np.random.default_rng(0).standard_normal((tokens_IT.shape[1], TOKEN_DIMENSIONS + 16))
    for _ in range(4):
        draw_TD = np.linalg.qr(tokens_IT.T @ (tokens_IT @ draw_TD))[0]
    return np.asarray(tokens_IT @ draw_TD[:, :TOKEN_DIMENSIONS], np.float32)


def _strongest(blocks: Sequence[NDArray[Any]], n_items: int, dim: int) -> Scores:
    """[I, D] the blocks side by side, turned so that the first dimensions say most, and cut."""
    if not blocks:
        return np.zeros((n_items, 1), np.float32)
    wide_ID = np.concatenate([np.asarray(block, np.float32) for block in blocks], axis=1)
    if wide_ID.shape[1] <= dim:
        return wide_ID
    if n_items < wide_ID.shape[1]:  # the same by the smaller of the two Gram matrices: W V = U S
        squares, axes_II = np.linalg.eigh((wide_ID @ wide_ID.T).astype(np.float64))
        return np.asarray((axes_II * np.sqrt(np.maximum(squares, 0)))[:, ::-1][:, :dim], np.float32)
    _, axes_DD = np.linalg.eigh((wide_ID.T @ wide_ID).astype(np.float64))
    return np.asarray(wide_ID @ axes_DD[:, ::-1][:, :dim].astype(np.float32), np.float32)
