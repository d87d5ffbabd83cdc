"""Columns of a typed file as text, numbers, booleans or UTC times: all that the checks need to know."""

import polars as pl

from daogou.data.readers.batch import NESTED


def plain(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """The frame in String, Int64, Float64, Boolean and Datetime(µs); nested cells as text marked with `NESTED`; bytes left out, with a note."""
    columns, notes = [], []
    for series in frame:
        if series.dtype == pl.Binary or series.dtype == pl.Object:
            notes.append(f"column {series.name!r} holds bytes and is left out")
            continue
        if isinstance(series.dtype, pl.Datetime) and series.dtype.time_zone is None:
            notes.append(f"column {series.name!r} has no time zone: taken as UTC")
        columns.append(_plain(series))
    return pl.DataFrame(columns) if columns else pl.DataFrame(height=frame.height), notes


def _plain(series: pl.Series) -> pl.Series:
    kind = series.dtype
    if kind in (pl.String, pl.Boolean, pl.Int64, pl.Float64):
        return series
    if kind.is_integer():
        fits = pl.Int64 if kind not in (pl.UInt64, pl.Int128, pl.UInt128) else pl.String
        return series.cast(fits)
    if kind.is_float() or isinstance(kind, pl.Decimal):
        return series.cast(pl.Float64)
    if isinstance(kind, pl.Datetime):
        utc = series if kind.time_zone is None else series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return utc.cast(pl.Datetime("us"))
    if kind == pl.Date:
        return series.cast(pl.Datetime("us"))
    if isinstance(kind, pl.Struct | pl.List | pl.Array):
        return _nested(series)
    return series.cast(pl.String)


def _nested(series: pl.Series) -> pl.Series:
    wrapped = series.to_frame("cell").select(pl.struct("cell").struct.json_encode().alias(series.name))[series.name]
    text = wrapped.str.strip_prefix('{"cell":').str.head(-1)
    return (NESTED + text).set(series.is_null(), None).alias(series.name)
