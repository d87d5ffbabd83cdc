"""Small data sets for tests: one whose right answers follow from how it is built, one with everything that real data has."""

import numpy as np
import polars as pl

from daogou.contract import Codes
from daogou.data.dataset import Dataset, from_frames

MINUTE_US = 60_000_000
DAY_US = 86_400_000_000
START_US = 1_700_000_000_000_000  # 2023-11-14 22:13:20 UTC

WEIGHTS = {"purchase": 1.0, "cart": 0.5, "view": 0.125, "shown": 0.0}


def checkerboard(n_users: int = 24, n_items: int = 12) -> Dataset:
    """Users like items of their own parity, and all of them but one: user u lacks item u mod `n_items`, which is therefore the right answer.

    The items of a row come in cyclic order, u + 2, u + 4, … , u − 2, so the held-out item is also what always follows the newest one:
    models of taste and models of order must both find it. Everything of a user lies in one session, a minute between events.

    Args:
        n_users: U.
        n_items: I, even and at least 6.
    """
    if n_items % 2 or n_items < 6:
        raise ValueError(f"n_items must be even and at least 6, not {n_items}")
    steps = np.arange(2, n_items, 2)
    user = np.repeat(np.arange(n_users), len(steps))
    item = (user + np.tile(steps, n_users)) % n_items
    events = pl.DataFrame(
        {
            "user_id": [f"u{u}" for u in user],
            "item_id": [f"i{i}" for i in item],
            "event": ["like"] * len(user),
            "time": START_US + MINUTE_US * np.tile(np.arange(len(steps)), n_users),
            "session_id": [f"s{u}" for u in user],
        }
    )
    items = pl.DataFrame({"item_id": [f"i{i}" for i in range(n_items)], "category": ["even" if i % 2 == 0 else "odd" for i in range(n_items)]})
    users = pl.DataFrame({"user_id": [f"u{u}" for u in range(n_users)], "side": ["even" if u % 2 == 0 else "odd" for u in range(n_users)]})
    return from_frames(events, items, users)


def held_out(data: Dataset) -> Codes:
    """[U] the right answer of each user of a `checkerboard`."""
    return (np.arange(data.n_users) % data.n_items).astype(np.int32)


def random_dataset(seed: int = 0, *, n_users: int = 40, n_items: int = 30, n_events: int = 800, days: float = 60.0) -> Dataset:
    """Events of several weights with repeats, sessions, values and equal times; items and users with attributes, some of them without any event.

    Popularity falls as a power of the code, tastes lie in two groups, so there is something to learn. The last user and the last item have no event.
    `shown` events weigh nothing.
    """
    rng = np.random.default_rng(seed)
    active, sold = max(1, n_users - 1), max(1, n_items - 1)
    n_visits = max(1, n_events // 5)
    visit = np.sort(rng.integers(0, n_visits, n_events))
    user = rng.integers(0, active, n_visits)[visit]
    visit_time = rng.integers(0, int(days * DAY_US), n_visits)[visit]
    popularity = 1.0 / np.arange(1, sold + 1) ** 0.7
    taste = np.where((np.arange(sold)[None, :] % 2) == (np.arange(2)[:, None]), 4.0, 1.0) * popularity
    taste /= taste.sum(axis=1, keepdims=True)
    item = np.array([rng.choice(sold, p=taste[u % 2]) for u in user])
    kind = rng.choice(list(WEIGHTS), n_events, p=[0.4, 0.2, 0.3, 0.1])
    events = pl.DataFrame(
        {
            "user_id": [f"u{u}" for u in user],
            "item_id": [f"i{i}" for i in item],
            "event": kind,
            "time": START_US + visit_time + MINUTE_US * rng.integers(0, 3, n_events),
            "value": np.round(rng.gamma(2.0, 5.0, n_events), 2),
            "session_id": [f"v{v}" for v in visit],
        }
    )
    items = pl.DataFrame(
        {
            "item_id": [f"i{i}" for i in range(n_items)],
            "title": [f"Item {i}" for i in range(n_items)],
            "category": [("Left > " if i % 2 else "Right > ") + str(i % 5) for i in range(n_items)],
            "brand": [f"b{i % 4}" for i in range(n_items)],
            "price": np.round(rng.gamma(2.0, 10.0, n_items), 2),
        }
    )
    users = pl.DataFrame(
        {
            "user_id": [f"u{u}" for u in range(n_users)],
            "side": [None if u % 7 == 0 else ("even" if u % 2 == 0 else "odd") for u in range(n_users)],
            "age": [None if u % 5 == 0 else float(20 + u % 50) for u in range(n_users)],
        }
    )
    return from_frames(events, items, users, weights=WEIGHTS)
