"""A frozen snapshot of a store or of files: what models learn from."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from daogou.contract import Codes, Mask, Queries, Scores, Times
from daogou.data.histories import Histories
from daogou.data.vocab import Vocabulary


@dataclass(frozen=True, slots=True)
class Events:
    """Columns of E events, ordered by (user, time, original row): a stable sort, because ties carry signal."""

    user: Codes
    item: Codes
    kind: NDArray[np.int16]  # index into Dataset.event_names
    time: Times
    value: Scores  # NaN where the event carries none
    session: Codes  # sessions (visits, baskets) numbered within the snapshot; −1 = not known
    position: Codes  # place in the list that was shown, from 0; −1 = not logged

    def __len__(self) -> int:
        return len(self.user)

    def take(self, index: NDArray[np.int64] | Mask) -> "Events":
        """Some events, by position or mask."""
        return Events(self.user[index], self.item[index], self.kind[index], self.time[index], self.value[index], self.session[index], self.position[index])

    @classmethod
    def sort(
        cls,
        user: Codes,
        item: Codes,
        kind: NDArray[np.int16],
        time: Times,
        value: Scores | None = None,
        session: Codes | None = None,
        position: Codes | None = None,
    ) -> "Events":
        """Orders columns given in their original order."""
        n = len(user)
        value = np.full(n, np.nan, np.float32) if value is None else value
        session = np.full(n, -1, np.int32) if session is None else session
        position = np.full(n, -1, np.int32) if position is None else position
        order = np.lexsort((np.arange(n), time, user))
        return cls(user, item, kind, time, value, session, position).take(order)


@dataclass(frozen=True)
class Dataset:
    """Events, items and users with two vocabularies. Row i of `item_table` describes item code i, row u of `user_table` user code u.

    `weights` is the scenario's weight of each event name. Splits keep the vocabularies, so codes agree between the parts.
    """

    users: Vocabulary
    items: Vocabulary
    events: Events
    event_names: tuple[str, ...]
    weights: Mapping[str, float]
    item_table: pl.DataFrame
    user_table: pl.DataFrame
    known_I: Mask | None = field(default=None)
    "Items that exist at the end of this window (None = all): later ones are no candidates."
    item_kinds: Mapping[str, str] = field(default_factory=dict)
    "Kind of each item attribute that the scenario declares beyond contract.ITEMS."

    @property
    def n_users(self) -> int:
        return len(self.users)

    @property
    def n_items(self) -> int:
        return len(self.items)

    @property
    def end(self) -> int:
        """Time of the newest event, µs; 0 without events."""
        return int(self.events.time.max()) if len(self.events) else 0

    @cached_property
    def weight_E(self) -> Scores:
        """Weight of each event by its name; 0 for names that the scenario does not list."""
        by_kind = np.array([self.weights.get(name, 0.0) for name in self.event_names] or [0.0], np.float32)
        return by_kind[self.events.kind] if len(self.events) else np.zeros(0, np.float32)

    @cached_property
    def histories(self) -> Histories:
        """[U] the signal: every event of positive weight, oldest first. Rows are user codes."""
        keep = self.weight_E > 0
        e = self.events
        return Histories.group(e.user[keep], self.n_users, e.item[keep], e.time[keep], self.weight_E[keep])

    def where(self, keep: Mask) -> "Dataset":
        """The same tables with only the events where `keep` [E] is true."""
        return replace(self, events=self.events.take(keep))

    def attributes(self, users: Codes) -> dict[str, NDArray[np.object_]]:
        """Registration attributes of users by code, None for guests: the form that Queries take."""
        out: dict[str, NDArray[np.object_]] = {}
        for name in self.user_table.columns:
            if name == "user_id":
                continue
            column = np.array([*self.user_table[name].to_list(), None], dtype=object)
            out[name] = column[users]  # −1 takes the last: None
        return out

    def queries(self, users: Codes | None = None, *, now: int | Times | None = None) -> Queries:
        """What is known of users (default: all) at the end of this snapshot, as Queries."""
        users = np.arange(self.n_users, dtype=np.int32) if users is None else users
        n = len(users)
        now_B = np.broadcast_to(np.asarray(self.end if now is None else now, np.int64), (n,)).copy()
        return Queries(history=self.histories[users], user_B=users, now_B=now_B, context=Histories.empty(n), attributes=self.attributes(users))


def from_frames(
    events: pl.DataFrame, items: pl.DataFrame | None = None, users: pl.DataFrame | None = None, *, weights: Mapping[str, float] | None = None
) -> Dataset:
    """A Dataset straight from polars frames in the columns of contract.py (times int64 µs), without a store.

    Items and users of the tables come first in the vocabularies, then those that only events name. `weights` default to 1 for every event name.
    """
    item_vocab, user_vocab = Vocabulary(), Vocabulary()
    for vocab, table, key in ((item_vocab, items, "item_id"), (user_vocab, users, "user_id")):
        if table is not None:
            vocab.extend(table[key].to_list())
        vocab.extend(events[key].unique(maintain_order=True).to_list())
    names = tuple(events["event"].unique(maintain_order=True).to_list())
    kinds = Vocabulary(names).codes(events["event"]).astype(np.int16)
    value = events["value"].cast(pl.Float32).fill_null(float("nan")).to_numpy() if "value" in events.columns else None
    session = None
    if "session_id" in events.columns:
        sessions = Vocabulary(events["session_id"].drop_nulls().unique(maintain_order=True).to_list())
        session = sessions.codes(events["session_id"].fill_null(""))
    position = events["position"].fill_null(-1).cast(pl.Int32).to_numpy() if "position" in events.columns else None
    user, item, time = user_vocab.codes(events["user_id"]), item_vocab.codes(events["item_id"]), events["time"].cast(pl.Int64).to_numpy()
    sorted_events = Events.sort(user, item, kinds, time, value, session, position)
    return Dataset(
        user_vocab,
        item_vocab,
        sorted_events,
        names,
        dict.fromkeys(names, 1.0) if weights is None else weights,
        align(items, item_vocab, "item_id"),
        align(users, user_vocab, "user_id"),
    )


def align(table: pl.DataFrame | None, vocab: Vocabulary, key: str) -> pl.DataFrame:
    """`table` with one row per code in order of the codes; ids it lacks get nulls."""
    ids = pl.DataFrame({key: pl.Series(vocab.ids, dtype=pl.String)})
    return ids if table is None else ids.join(table.unique(subset=key, keep="last"), on=key, how="left", maintain_order="left")
