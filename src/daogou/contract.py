"""The whole system on one screen: the tables that come in, the question, and who answers it.

Axes in names: B queries, C candidates, E events, I items, K list length, U users. Ids are text outside and dense int32 codes inside
(−1 = unknown); `data.vocab` is the only border. Times are int64 microseconds UTC.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from daogou.config import Config
    from daogou.data.dataset import Dataset
    from daogou.data.histories import Histories
    from daogou.data.readers.batch import Batch

Codes = NDArray[np.int32]
Scores = NDArray[np.float32]
Mask = NDArray[np.bool_]
Times = NDArray[np.int64]

# ---- tables -------------------------------------------------------------------------------------------------------------------
EVENTS = {"user_id": "text*", "item_id": "text*", "event": "text*", "time": "time*", "value": "number", "session_id": "text",
          "request_id": "text", "position": "integer", "context": "json", "event_id": "text"}  # fmt: skip
ITEMS = {"item_id": "text*", "title": "text", "description": "text", "category": "category", "brand": "tag", "price": "number",
         "currency": "tag", "image": "image", "available": "flag", "created": "time", "kind": "tag"}  # fmt: skip
USERS = {"user_id": "text*", "consent": "flag"}
"""Column → kind; `*` is required. Items and users also carry the attributes that the scenario declares. `shown` is an event too."""


# ---- the question -------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class Queries:
    """B shoppers as known right now. A guest is a query with user −1; models answer from the history wherever they can."""

    history: "Histories"  # signal events, oldest first: what a model learns taste from
    user_B: Codes  # −1 = guest or unknown
    now_B: Times
    context: "Histories"  # the items on the page (product, cart); empty rows elsewhere
    attributes: Mapping[str, NDArray[np.object_]] = field(default_factory=dict)  # registration attributes, [B] of str | float | None

    def __len__(self) -> int:
        return len(self.user_B)

    def __getitem__(self, rows: slice | NDArray[Any]) -> "Queries":
        """The queries of some rows, in that order."""
        attributes = {name: values[rows] for name, values in self.attributes.items()}
        return Queries(history=self.history[rows], user_B=self.user_B[rows], now_B=self.now_B[rows], context=self.context[rows], attributes=attributes)


class TopK(NamedTuple):
    """Best first. Places that could not be filled hold code −1 and score −inf."""

    codes_BK: Codes
    scores_BK: Scores


class Reason(NamedTuple):
    """One cause of a recommendation: `item` of the history added `weight` to the score. `how` is `exact` or `left-out`."""

    item: int
    weight: float
    how: str


# ---- who answers --------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The circumstances of a fit: everything that is neither data nor hyperparameter."""

    seed: int = 0
    threads: int = 1
    progress: "Progress | None" = None
    checkpoint: Path | None = None  # directory for interrupted fits; None = do not keep
    vectors: Path | None = None  # directory of vectors by content hash (encode.cache); None = encode anew
    photos: Path | None = None  # folder of the photos that items name; None = photos are not looked at
    watch: Callable[[float], None] | None = None  # told what an epoch is worth on held-out events, by models with `by_epochs`; what it raises ends the fit


class Progress(Protocol):
    """Told how far a fit is. `total` may be unknown (None)."""

    def __call__(self, step: str, done: float, total: float | None) -> None: ...


@runtime_checkable
class Recommender(Protocol):
    """Learns from a Dataset, answers Queries. Batch equals single; `allowed` counts before top-k; nothing unknown is ever returned."""

    config: "Config"
    n_items: int  # I of the vocabulary it was fitted on; later items have higher codes and are unknown to it

    def fit(self, data: "Dataset", run: Run) -> Self: ...
    def recommend(self, queries: Queries, k: int, allowed: Mask | None = None) -> TopK: ...  # allowed: [I] or [B, I]
    def score(self, queries: Queries, candidates: Codes | None = None) -> Scores: ...  # [B, C]; None = the whole catalogue, [B, I]
    def similar(self, items: Codes, k: int) -> TopK: ...  # [len(items), k], never the item itself
    def explain(self, queries: Queries, item: int) -> list[Reason]: ...  # of a single query (B = 1), strongest first
    def save(self, directory: Path) -> None: ...
    @classmethod
    def load(cls, directory: Path) -> Self: ...


@runtime_checkable
class Additive(Protocol):
    """A recommender whose knowledge is a sum over users: someone can be subtracted, exactly."""

    def forget(self, data: "Dataset") -> Self: ...  # data: the events of those to forget; equals a fit that never saw them


@runtime_checkable
class Rater(Recommender, Protocol):
    """A recommender that can say how an item would be rated."""

    @property
    def rates(self) -> bool: ...  # whether it has learned that, or only an order
    def predict(self, queries: Queries, items_B: Codes) -> Scores: ...  # [B] the rating of one item for each query


@runtime_checkable
class StandIn(Recommender, Protocol):
    """A recommender that needs no events, and speaks for those that do on items that have few: a blend asks it so without knowing its name."""

    @property
    def trust_I(self) -> Scores: ...  # [I] 0 … 1: how far models of events may be believed on the item


@runtime_checkable
class NewcomerStandIn(Recommender, Protocol):
    """A recommender that answers without a history, and speaks in the place of those that read one for shoppers who have little of it."""

    def trust_B(self, queries: Queries) -> Scores: ...  # [B] 0 … 1: how far models of histories may be believed on the shopper


class Due(NamedTuple):
    """An item of the history that is taken again and again: how often so far, its usual gap, and the chance of the next time."""

    item: int
    times: int
    gap_days: float
    chance: float


@runtime_checkable
class Habits(Protocol):
    """A recommender that knows when things are due again."""

    def due(self, queries: Queries) -> list[Due]: ...  # of a single query (B = 1), likeliest first


class Encoder(Protocol):
    """Turns texts or photos into vectors. Vectors of another `id`, `version` or `weights` are not comparable; `encode.stamp` names the three."""

    id: str
    kind: str  # what it reads: `text` (str) or `image` (bytes of a file)
    dim: int
    version: str

    @property
    def weights(self) -> str: ...  # sha256 of its weights; "" where it has none

    def encode(self, things: Sequence[str | bytes]) -> tuple[Scores, Mask]: ...  # unit vectors [n, dim]; False where there is no vector


class Reader(Protocol):
    """Reads one format, in the order of the file; registered under its name, which is also the suffix it answers to (``csv`` reads ``*.csv``).

    `table` (events, items or users) is what the caller takes the file for; a format that knows its own tables may yield others. A format that
    lies in a package of its own takes None for the path. Columns may carry the file's names: renaming and checking come later.
    """

    def __call__(self, path: Path | None, *, table: str) -> "Iterator[Batch]": ...
