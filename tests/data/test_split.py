"""Splits on small logs whose right answer can be read off, and on real data for what must hold of every split."""

import numpy as np
import polars as pl
import pytest

from daogou.data.dataset import Dataset, from_frames
from daogou.data.split import DAY_US, Split, Targets, split
from daogou.errors import DataError, UnknownName, UsageError
from daogou.testing.data import dataset_path

PROTOCOLS = ("time", "leave-one-out", "user-split", "cold-items", "cold-users")


def log(text: str, weights: dict[str, float] | None = None, items: pl.DataFrame | None = None) -> Dataset:
    """One event a word, ``user:item@day`` or ``user:item@day/event``."""
    rows = []
    for word in text.split():
        who, rest = word.split(":")
        item, when = rest.split("@")
        day, _, event = when.partition("/")
        rows.append((who, item, event or "buy", int(float(day) * DAY_US)))
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "event", "time"], orient="row")
    return from_frames(frame, items, weights=weights)


def asked(targets: Targets, data: Dataset) -> dict[str, tuple[str, str]]:
    """User → (history, wanted) as words, each item one letter."""
    out = {}
    for b, user in enumerate(targets.queries.user_B):
        history, wanted = (
            "".join(data.items.id(i) for i in rows.item[rows.start[b] : rows.start[b + 1]]) for rows in (targets.queries.history, targets.wanted)
        )
        out[data.users.id(user) if user >= 0 else f"guest{b}"] = (history, wanted)
    return out


def told(data: Dataset) -> list[str]:
    """The events as words ``user item``."""
    return [f"{data.users.id(u)}{data.items.id(i)}" for u, i in zip(data.events.user, data.events.item, strict=True)]


LOG = "u:a@0 u:b@5 u:c@6.5 u:d@8.5 u:a@9 u:d@9.5  v:b@1 v:a@7 v:c@10  w:a@8.5 w:b@9 w:a@9.5  x:a@1 x:z@9"  # test from day 8, validation from day 6


def test_time_cuts_everyone_at_one_moment() -> None:
    data = log(LOG)
    s = split(data, test_days=2)
    assert told(s.train) == ["ua", "ub", "vb", "xa"]
    assert told(s.refit) == ["ua", "ub", "uc", "vb", "va", "xa"]
    assert asked(s.validation, data) == {"v": ("b", "a")}  # c is first seen in that window
    assert asked(s.test, data) == {"v": ("ba", "c")}  # u has a already; d and z are first seen in the window
    assert asked(s.apart["new-items"], data) == {"u": ("abc", "d"), "x": ("a", "z")}
    assert asked(s.apart["no-history"], data) == {"guest0": ("", "ab")}
    assert [data.items.id(i) for i in np.flatnonzero(s.known_I)] == ["a", "b", "c"]
    assert [data.items.id(i) for i in np.flatnonzero(s.train.known_I)] == ["a", "b"]
    assert s.apart["new-items"].known_I is None
    assert set(s.test.queries.now_B) == {8 * DAY_US + 1}


def test_time_takes_as_many_events_where_validation_cannot_be_as_long_as_the_test() -> None:
    """Thirty busy days and a last tenth that trickles over a year."""
    early = " ".join(f"u{n % 9}:{'abcdefghij'[n % 10]}@{n / 3}" for n in range(90))
    data = log(early + " " + " ".join(f"u{n % 9}:{'abcdefghij'[(n + 5) % 10]}@{40 + 30 * n}" for n in range(10)))
    s = split(data, repeats=True)
    assert len(s.refit.events) == 90
    assert len(s.train.events) == 80
    with pytest.raises(DataError, match="smaller test_days"):
        split(data, repeats=True, test_days=300)  # asked for in days: not silently something else


def test_time_with_repeats_keeps_what_is_taken_again() -> None:
    data = log(LOG)
    assert asked(split(data, test_days=2, repeats=True).test, data) == {"u": ("abc", "a"), "v": ("ba", "c")}


def test_time_last_asks_right_before_the_last_new_item() -> None:
    data = log("u:a@0 u:b@1 u:c@9 u:a@9.2 u:d@9.5 u:d@9.7  v:d@1 v:c@2 v:a@7 v:b@10  x:a@3 x:d@7 x:c@9.5")
    s = split(data, test_days=2, targets="last")
    assert asked(s.test, data) == {"u": ("abca", "d"), "v": ("dca", "b"), "x": ("ad", "c")}
    assert s.test.queries.now_B.tolist() == [int(day * DAY_US) for day in (9.5, 10, 9.5)]
    assert asked(split(data, test_days=2, targets="last", repeats=True).test, data)["u"] == ("abcad", "d")


def test_created_tells_that_an_item_existed() -> None:
    items = pl.DataFrame({"item_id": ["d", "z"], "created": [0, 9 * DAY_US]})
    data = log(LOG, items=items)
    s = split(data, test_days=2)
    assert asked(s.test, data) == {"u": ("abc", "d"), "v": ("ba", "c")}
    assert asked(s.apart["new-items"], data) == {"x": ("a", "z")}


def test_window_without_length_starts_at_the_last_tenth_of_the_events() -> None:
    data = log(" ".join(f"u{n % 5}:i{n % 7}@{n}" for n in range(100)))
    s = split(data, repeats=True)
    assert len(s.refit.events) == 90
    assert len(s.train.events) == 81  # the test events span nine days, from 90 to 99, and so does validation, from 81 to just before 90
    assert s.about["validation_days"] == 9


def test_leave_one_out_takes_the_last_two() -> None:
    data = log("u:a@1 u:b@2 u:c@2 u:d@2  v:a@1 v:b@2  w:a@1 w:a@2 w:b@3")
    s = split(data, "leave-one-out")
    assert told(s.train) == ["ua", "ub", "va", "vb", "wa", "wa", "wb"]  # v and w (two different items) are only learned from
    assert asked(s.validation, data) == {"u": ("ab", "c")}
    assert asked(s.test, data) == {"u": ("abc", "d")}  # ties in time keep the order of the rows
    assert told(s.refit) == ["ua", "ub", "uc", "va", "vb", "wa", "wa", "wb"]
    assert asked(split(data, "leave-one-out", repeats=True).test, data) == {"u": ("abc", "d"), "w": ("aa", "b")}


def test_goal_and_signal_are_different_things() -> None:
    weights = {"look": 0.1, "buy": 1.0, "shown": 0.0}
    data = log("u:a@1/look u:a@2/buy u:b@3/look u:c@4/buy u:x@5/shown u:d@6/buy u:e@7/look", weights)
    s = split(data, "leave-one-out", goal=["buy"])
    assert asked(s.test, data) == {"u": ("aabc", "d")}
    assert asked(s.validation, data) == {"u": ("aab", "c")}
    assert told(s.refit) == ["ua", "ua", "ub", "uc", "ux"]  # what comes after the test is not learned from
    again = split(data, "leave-one-out", goal=["buy"], repeats=True)
    assert asked(again.validation, data) == {"u": ("aab", "c")}


def test_user_split_folds_in_the_earlier_part() -> None:
    data = log(" ".join(f"u{u}:i{(u + n) % 13}@{n}" for u in range(20) for n in range(10)))
    s = split(data, "user-split", fold_in=0.8, seed=5)
    assert len(s.test) == len(s.validation) == 2
    assert (s.test.queries.user_B == -1).all()
    assert s.test.queries.history.lengths.tolist() == [8, 8]
    assert s.test.wanted.lengths.tolist() == [2, 2]
    assert (s.test.queries.now_B == 8 * DAY_US).all()
    assert len(set(s.train.events.user)) == 16
    assert len(set(s.refit.events.user)) == 18


def test_user_split_does_not_want_what_was_folded_in() -> None:
    data = log(" ".join(f"u{u}:{item}@{n}" for u in range(10) for n, item in enumerate("abcda")))
    assert split(data, "user-split", fold_in=0.5).test.wanted.lengths.tolist() == [1]
    assert split(data, "user-split", fold_in=0.5, repeats=True).test.wanted.lengths.tolist() == [2]


def test_cold_users_are_known_by_registration_alone() -> None:
    events = pl.DataFrame({"user_id": [f"u{n // 4}" for n in range(80)], "item_id": [f"i{n % 9}" for n in range(80)], "event": "buy", "time": range(80)})
    users = pl.DataFrame({"user_id": [f"u{n}" for n in range(20)], "age": list(range(20))})
    data = from_frames(events, users=users)
    s = split(data, "cold-users", seed=1)
    held = set(range(20)) - set(s.refit.events.user.tolist())
    assert len(s.test.queries.history.item) == 0
    assert set(s.test.queries.attributes["age"]) == held
    assert (s.test.queries.user_B == -1).all()
    assert s.test.wanted.lengths.tolist() == [4, 4]


def test_cold_items_are_never_learned_from() -> None:
    data = log(" ".join(f"u{u}:i{(u * 3 + n) % 30}@{n}" for u in range(20) for n in range(10)))
    s = split(data, "cold-items", seed=2)
    wanted, learned = set(s.test.wanted.item.tolist()), set(s.refit.events.item.tolist())
    assert len(wanted) == 3
    assert not wanted & (learned | set(s.test.queries.history.item.tolist()))
    assert not set(s.validation.wanted.item.tolist()) & set(s.train.events.item.tolist())
    assert s.known_I is None


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_same_seed_gives_the_same_split(protocol: str) -> None:
    data = log(" ".join(f"u{u}:i{(u * 3 + n) % 30}@{n}" for u in range(20) for n in range(10)))
    a, b = (split(data, protocol, test_days=2, repeats=True, seed=3) for _ in range(2))
    assert asked(a.test, data) == asked(b.test, data)
    assert told(a.train) == told(b.train)
    if protocol in ("user-split", "cold-items", "cold-users"):
        assert told(split(data, protocol, test_days=2, repeats=True, seed=4).train) != told(a.train)


@pytest.fixture(scope="module")
def ml_100k() -> Dataset:
    path = dataset_path("ml-100k") / "u.data"
    frame = pl.read_csv(path, separator="\t", has_header=False, new_columns=["user_id", "item_id", "value", "time"])
    return from_frames(frame.with_columns(pl.col("user_id", "item_id").cast(pl.String), pl.lit("rate").alias("event"), pl.col("time") * 1_000_000))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("repeats", [False, True])
def test_what_every_split_promises(ml_100k: Dataset, protocol: str, repeats: bool) -> None:
    s: Split = split(ml_100k, protocol, repeats=repeats)
    for part, history in ((s.validation, s.train), (s.test, s.refit), *((p, s.refit) for p in s.apart.values())):
        pairs = part.wanted.row * ml_100k.n_items + part.wanted.item
        assert len(np.unique(pairs)) == len(pairs)  # wanted items are distinct
        assert (part.wanted.lengths > 0).all()
        assert history.users is ml_100k.users
        assert history.items is ml_100k.items
        assert not repeats or protocol != "time" or (part.queries.now_B > history.end).all()
        if not repeats:
            had = part.queries.history.row * ml_100k.n_items + part.queries.history.item
            assert not np.isin(pairs, had).any()
        if part.known_I is not None:
            assert part.known_I[part.wanted.item].all()
    if protocol in ("time", "leave-one-out"):  # nothing that a query is asked for was learned for it
        user, wanted = s.test.queries.user_B[s.test.wanted.row], s.test.wanted
        learned = set((s.refit.events.user * np.int64(ml_100k.n_items) + s.refit.events.item).tolist())
        assert not learned & set((user * np.int64(ml_100k.n_items) + wanted.item).tolist())
    assert len(s.train.events) < len(s.refit.events) < len(ml_100k.events)
    assert s.about["test_users"] == len(s.test)


def test_ml_100k_leave_one_out_uses_every_user(ml_100k: Dataset) -> None:
    s = split(ml_100k, "leave-one-out")
    assert (len(s.test), len(s.validation), len(s.train.events)) == (943, 943, 100_000 - 2 * 943)


def test_rows_of_targets(ml_100k: Dataset) -> None:
    test = split(ml_100k, "time").test
    part = test[np.array([4, 0])]
    assert part.queries.user_B.tolist() == test.queries.user_B[[4, 0]].tolist()
    assert part.wanted.lengths.tolist() == test.wanted.lengths[[4, 0]].tolist()
    assert part.known_I is test.known_I


def test_errors_say_what_to_do() -> None:
    data = log(LOG)
    with pytest.raises(UnknownName, match="did you mean 'leave-one-out'"):
        split(data, "leave-one-aut")  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match=r"no event named 'bay'.*did you mean 'buy'"):
        split(data, goal=["bay"])
    with pytest.raises(UsageError, match="share is 0"):
        split(data, "user-split", share=0)
    with pytest.raises(DataError, match="smaller test_days"):
        split(data, test_days=6)
    with pytest.raises(DataError, match=r"leaves nothing for validation.*let repeats count"):
        split(log("u:a@1 u:b@5.5 u:a@7 u:b@9.5"), test_days=2)
    with pytest.raises(DataError, match="no event to split"):
        split(log("u:a@1", weights={"buy": 0}))
    with pytest.raises(DataError, match="at least 3"):
        split(log("u:a@1 u:b@2"), "user-split")
