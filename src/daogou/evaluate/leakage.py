"""What a split lets a model know that it could not know in service. Said beside every figure, because a leak makes any model look good."""

import numpy as np

from daogou.data.split import Split

NOTICEABLE = 0.01


def leaks(split: Split) -> list[str]:
    """Sentences about what is leaking, strongest first; empty where nothing was found."""
    return [said for said in (_future(split), _answers_in_history(split), _shared_moment(split), _apart(split)) if said]


def _future(split: Split) -> str:
    """Share of the training events that lie at or after the moment a query is asked, averaged over the test queries."""
    learned_E = np.sort(split.train.events.time)
    later_B = len(learned_E) - np.searchsorted(learned_E, split.test.queries.now_B)
    share = float(later_B.mean()) / max(len(learned_E), 1)
    if share < NOTICEABLE / 100:
        return ""
    return (
        f"Leak by design of the protocol: on average {share:.1%} of the training events are newer than the moment a test query is asked. "
        "Figures are higher than in service, and models may change places: believe the time protocol."
    )


def _answers_in_history(split: Split) -> str:
    if split.about.get("repeats"):
        return ""
    wanted, history, size = split.test.wanted, split.test.queries.history, split.train.n_items
    had = np.isin(wanted.row * size + wanted.item, history.row * size + history.item).mean()
    return f"{had:.1%} of the wanted items are already in the history: they are masked and can never be hit. Let repeats count." if had else ""


def _shared_moment(split: Split) -> str:
    """Of targets that share their time with the last event of the history the order is arbitrary, and the time of the request gives them away."""
    history, wanted = split.test.queries.history, split.test.wanted
    some = history.lengths > 0
    same = history.time[history.start[1:][some] - 1] == wanted.time[wanted.start[:-1][some]]
    share = float(same.mean()) if len(same) else 0.0
    if share < NOTICEABLE:
        return ""
    return (
        f"{share:.1%} of the first wanted items share their time with the last event of the history: their order is that of the rows, "
        "and a model that sees the time of the request can tell."
    )


def _apart(split: Split) -> str:
    counts = [f"{len(part.wanted.item)} wanted items of {len(part)} users ({name})" for name, part in split.apart.items()]
    return f"Not in the main figures but in rows of their own: {', '.join(counts)}." if counts else ""
