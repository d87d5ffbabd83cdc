"""Files through readers and checks into a sink, counted: the part of an import that knows no store."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, time
from typing import NamedTuple

import msgspec
import polars as pl

from daogou.contract import Progress
from daogou.data import readers
from daogou.data.checks import Checks
from daogou.data.dataset import Dataset, from_frames
from daogou.data.quarantine import Quarantine
from daogou.data.readers.batch import Batch
from daogou.data.rows import Ack
from daogou.errors import DataError, UsageError
from daogou.scenario import Scenario

Sink = Callable[[str, pl.DataFrame], Ack]
"""Takes clean rows of a table; returns when they are safe, with how many were new. Items and users come at most once a file."""

TABLES = ("users", "items", "events")
KEYS = {"users": "user_id", "items": "item_id"}
TOP_REASONS = 10


class FileReport(msgspec.Struct):
    """What became of the rows of one table in one file: read = loaded + duplicates + quarantined."""

    file: str
    table: str
    format: str
    read: int = 0
    loaded: int = 0
    duplicates: int = 0
    "Rows that were there already: events of the same id or content, items and users named again later in the file (the later row counts)."
    quarantined: int = 0
    notes: list[str] = []


class Reason(msgspec.Struct, frozen=True):
    """How many rows were rejected for one reason in one column."""

    column: str
    reason: str
    rows: int


class ImportReport(msgspec.Struct):
    """An import in numbers. `str()` is what the command prints."""

    files: list[FileReport] = []
    quarantine: str | None = None
    reasons: list[Reason] = []
    seconds: float = 0.0

    def total(self, column: str, table: str | None = None) -> int:
        """Sum of `read`, `loaded`, `duplicates` or `quarantined` over the files (of one table)."""
        return sum(getattr(report, column) for report in self.files if table in (None, report.table))

    def __str__(self) -> str:
        lines = [f"{'table':<7} {'read':>10} {'loaded':>10} {'duplicates':>10} {'rejected':>9}  file"]
        for one in self.files:
            lines.append(f"{one.table:<7} {one.read:>10,} {one.loaded:>10,} {one.duplicates:>10,} {one.quarantined:>9,}  {one.file} ({one.format})")
            lines += [f"        · {note}" for note in one.notes]
        known = f", {self.total('duplicates'):,} were there already" if self.total("duplicates") else ""
        lines.append(f"{self.total('loaded'):,} of {self.total('read'):,} rows loaded in {self.seconds:.1f} s{known}")
        if self.quarantine:
            lines.append(f"{self.total('quarantined'):,} rows are in {self.quarantine}:")
            lines += [f"  {one.rows:>8,}  {one.column or '(row)'}: {one.reason}" for one in self.reasons[:TOP_REASONS]]
            if len(self.reasons) > TOP_REASONS:
                lines.append(f"  … and {len(self.reasons) - TOP_REASONS} more reasons")
        return "\n".join(lines)


@dataclass
class _Part:
    """One table of one file on its way."""

    report: FileReport
    checks: Checks
    notes: dict[str, None] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)


class Loading:
    """Runs files into a sink."""

    def __init__(
        self,
        scenario: Scenario,
        sink: Sink,
        quarantine: Quarantine,
        *,
        columns: Mapping[str, Mapping[str, str]] | None = None,
        progress: Progress | None = None,
        now_us: int | None = None,
    ) -> None:
        self.scenario, self.sink, self.quarantine, self.progress = scenario, sink, quarantine, progress
        self.columns = columns or {}
        self.now_us = int(time() * 1e6) if now_us is None else now_us
        self.report = ImportReport(files=[])
        self._whole: set[tuple[Path | None, str]] = set()

    def file(self, path: Path | None, table: str, format: str | None) -> None:
        """All batches of one file.

        Raises:
            DataError: the file as a whole cannot be used. Batches before the fault are loaded.
        """
        name, reader = readers.find(path, format)
        if (path, name) in self._whole:  # a format that knows its own tables, named for more than one of them
            return
        parts: dict[tuple[str, str], _Part] = {}
        for batch in reader(path, table=table):
            if batch.table != table:
                self._whole.add((path, name))
            part = parts.get((batch.file, batch.table))
            if part is None:
                checks = Checks(batch.table, self.scenario, file=batch.file, now_us=self.now_us, columns=self.columns.get(batch.table))
                part = parts[batch.file, batch.table] = _Part(FileReport(batch.file, batch.table, name, notes=[]), checks)
                self.report.files.append(part.report)
            self._batch(part, batch)

    def _batch(self, part: _Part, batch: Batch) -> None:
        rows, rejected = part.checks(batch)
        rows, repeated = self._once(part, rows)
        ack = self.sink(batch.table, rows) if rows.height else Ack()
        one = part.report
        one.read += batch.read
        one.quarantined += self.quarantine.add(batch.rejected) + self.quarantine.add(rejected)
        one.loaded += ack.accepted - repeated.across
        one.duplicates += ack.duplicates + repeated.within + repeated.across
        part.notes |= dict.fromkeys(batch.notes)
        one.notes = [*part.notes, *part.checks.notes()]
        if self.progress is not None:
            total = None if not batch.share else round(one.read / batch.share)
            self.progress(f"{one.table}: {Path(one.file).name}", one.read, total)

    @staticmethod
    def _once(part: _Part, rows: pl.DataFrame) -> tuple[pl.DataFrame, "_Repeated"]:
        """Items and users by their last row; a row of an earlier batch is overwritten and counted."""
        key = KEYS.get(part.report.table)
        if key is None:
            return rows, _Repeated(0, 0)
        once = rows.unique(subset=key, keep="last", maintain_order=True)
        ids = once[key].to_list()
        across = sum(one in part.keys for one in ids)
        part.keys.update(ids)
        return once, _Repeated(rows.height - once.height, across)

    def finish(self, seconds: float) -> ImportReport:
        """The report, after the last file and the closing of the quarantine."""
        self.report.seconds = seconds
        self.report.quarantine = None if self.quarantine.path is None else str(self.quarantine.path)
        self.report.reasons = [Reason(column, reason, n) for (column, reason), n in self.quarantine.reasons.most_common()]
        return self.report


class _Repeated(NamedTuple):
    within: int  # rows of this batch that a later row of it replaces
    across: int  # rows of this batch that replace one of an earlier batch


Paths = Iterable[Path | str] | Path | str


def run(
    scenario: Scenario,
    sink: Sink,
    *,
    events: Paths = (),
    items: Paths = (),
    users: Paths = (),
    format: str | None = None,
    columns: Mapping[str, Mapping[str, str]] | None = None,
    quarantine: Path,
    progress: Progress | None = None,
    now_us: int | None = None,
) -> ImportReport:
    """Reads files (users, then items, then events), checks them and hands clean rows to `sink`.

    A `format` that lies in a package of its own needs no file. `columns` renames by table, before the scenario's own renaming.

    Raises:
        UsageError: nothing to import.
        DataError: a file as a whole cannot be used; names the file. What came before it is loaded, and loading it twice changes nothing.
    """
    given = {"users": _paths(users), "items": _paths(items), "events": _paths(events)}
    if format is None and not any(given.values()):
        raise UsageError("nothing to import", expected="files of events, items or users, or a format that needs none", fix="daogou import --events F")
    if unknown := set(columns or {}) - set(TABLES):
        raise UsageError(f"no table named {sorted(unknown)[0]!r}", expected="one of " + ", ".join(TABLES))
    started = perf_counter()
    with Quarantine(quarantine) as rejected:
        loading = Loading(scenario, sink, rejected, columns=columns, progress=progress, now_us=now_us)
        if not any(given.values()):
            loading.file(None, "events", format)
        for table in TABLES:
            for path in given[table]:
                loading.file(path, table, format)
    return loading.finish(perf_counter() - started)


def _paths(paths: Paths) -> Sequence[Path]:
    return [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]


def load_files(
    scenario: Scenario, *, events: Paths = (), items: Paths = (), users: Paths = (), format: str | None = None, quarantine: Path, now_us: int | None = None
) -> tuple[Dataset, ImportReport]:
    """A Dataset straight from files, without a store: for benchmarks and a first look. Replays are not looked for."""
    frames: dict[str, list[pl.DataFrame]] = {table: [] for table in TABLES}

    def keep(table: str, rows: pl.DataFrame) -> Ack:
        frames[table].append(rows)
        return Ack(accepted=rows.height)

    report = run(scenario, keep, events=events, items=items, users=users, format=format, quarantine=quarantine, now_us=now_us)
    joined = {table: pl.concat(parts, how="diagonal_relaxed") for table, parts in frames.items() if parts}
    if "events" not in joined:
        raise DataError("there is not one usable event", fix=f"look into {report.quarantine}" if report.quarantine else "name a file of events")
    return from_frames(joined["events"], joined.get("items"), joined.get("users"), weights=scenario.events), report
