"""Registration: what people of such an age, household or income take. The first answer to someone new, before the first event."""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, Self

import msgspec
import numpy as np
import scipy.sparse as sp
from msgspec import Meta
from numpy.typing import NDArray

from daogou.config import Config, hyper
from daogou.contract import Queries, Reason, Run, Scores
from daogou.data.dataset import Dataset
from daogou.errors import TrainingError
from daogou.families import Base, State

UNITS = 1 << 20  # fixed point: integers add and subtract exactly, floats do not
EVERYONE = ("", "")
Groups = dict[tuple[str, str], int]


class RegistrationConfig(Config, frozen=True):
    attributes: Annotated[tuple[str, ...], Meta(description="Registration attributes that are read; empty = all of at most `values` values.")] = ()
    values: Annotated[int, Meta(ge=2, description="Most values of an attribute that is read without being named.")] = 50
    l2: Annotated[float, hyper("Penalty on what a group differs from everyone by.", 10, 1000, log=True, unit="people", gt=0)] = 100.0
    handover: Annotated[
        float, Meta(ge=0, description="Events κ after which a shopper's own history counts as much as the registration.", extra={"unit": "events"})
    ] = 0.5


class Sums(NamedTuple):
    """Over people with events: how many are in both of two groups [G, G], and what each group takes [G, I] in units. Group 0 is everyone."""

    groups: list[tuple[str, str]]  # (attribute, value), sorted; EVERYONE sorts first
    people_GG: NDArray[np.int64]
    taken_GI: sp.csr_matrix


class Registration(Base):
    """score = μ + z A with z ∈ {0, 1}^G the groups a shopper is in, and ridge regression on those with events (Hoerl & Kennard 1970)

        A = (ZᵀZ + l2·Id)⁻¹ Zᵀ(X − 1μᵀ),    X_ui = ln(1 + Σ weights of u's events with i),    μ the mean of X

    Unlike lists by segment it counts a difference once where attributes go together (age and children). The logarithm keeps a few who take one thing
    very often from speaking for their group. Of whom nothing is known, or who is in no group, μ answers.

    It is a stand-in (contract.NewcomerStandIn): where a shopper has few events, a blend lets it speak for the models that read histories.

    Memory: 4·G·I bytes for G groups; the statistics 16 bytes for each group and item that occur together. Additive: exact.
    There is no explanation from the history: it is not read.
    """

    Settings = RegistrationConfig
    config: RegistrationConfig
    positive_only = True

    def _fit(self, data: Dataset, run: Run) -> None:
        self._learn(_sums(data, self._read(data)))

    def forget(self, data: Dataset) -> Self:
        """Takes the people whose events are `data` out again; equals a fit that never saw them, where the attributes to be read are named."""
        if self.statistics is None:
            raise TrainingError("its statistics were not kept", fix="train again")
        sums = _unpack(self.statistics)
        read = tuple(dict.fromkeys(name for name, _ in sums.groups if name))
        left = _without(sums, _sums(data, read))
        if not left.people_GG[0, 0]:
            raise TrainingError("nothing would be left to recommend from", fix="delete the release instead")
        self._learn(left)
        return self

    def trust_B(self, queries: Queries) -> Scores:
        """[B] n/(n + κ), an event counted as much as it weighs: how far models that read histories may be believed on each shopper."""
        n_B = np.bincount(queries.history.row, queries.history.weight, minlength=len(queries))
        return np.asarray(n_B / np.maximum(n_B + self.config.handover, 1e-6), np.float32)

    def _read(self, data: Dataset) -> tuple[str, ...]:
        columns = {name: data.user_table[name] for name in data.user_table.columns if name != "user_id"}
        for name in self.config.attributes:
            if name not in columns:
                raise TrainingError(f"no registration attribute {name!r} to learn from", expected=", ".join(columns) or "some attribute of users")
        return self.config.attributes or tuple(name for name, column in columns.items() if 0 < column.drop_nulls().n_unique() <= self.config.values)

    def _learn(self, sums: Sums) -> None:
        self._statistics = _pack(sums)
        self._groups: Groups = {group: g for g, group in enumerate(sums.groups)}
        people_GG, taken_GI = sums.people_GG.astype(np.float64), sums.taken_GI.toarray() / UNITS
        mean_I = taken_GI[0] / people_GG[0, 0]
        penalised_GG = people_GG[1:, 1:] + self.config.l2 * np.eye(len(people_GG) - 1)
        apart_GI = np.linalg.solve(penalised_GG, taken_GI[1:] - np.outer(people_GG[1:, 0], mean_I))
        self.weights_GI = np.vstack([mean_I, apart_GI]).astype(np.float32)

    def _score(self, queries: Queries) -> Scores:
        return np.asarray(_membership(queries.attributes, self._groups, len(queries)) @ self.weights_GI, np.float32)

    def explain(self, queries: Queries, item: int) -> list[Reason]:
        """Nothing of the history causes it."""
        return []

    def _state(self) -> State:
        return {"weights": self.weights_GI, "groups": _bytes(list(self._groups))}

    def _restore(self, state: State) -> None:
        self.weights_GI = np.asarray(state["weights"])
        self._groups = {group: g for g, group in enumerate(_names(state["groups"]))}


def _sums(data: Dataset, read: tuple[str, ...]) -> Sums:
    columns = data.attributes(np.arange(data.n_users, dtype=np.int32))
    active_U = data.histories.lengths > 0
    named = {(name, label) for name in read for value in columns[name][active_U] if (label := _label(value))}
    groups = [EVERYONE, *sorted(named)]
    z_UG = _membership({name: columns[name] for name in read}, {group: g for g, group in enumerate(groups)}, data.n_users)
    z_UG = sp.csr_matrix(z_UG.multiply(active_U[:, None])).astype(np.int64)
    taken_UI = data.histories.matrix(data.n_items)
    taken_UI.data = np.log1p(taken_UI.data.astype(np.float64))
    units_UI = sp.csr_matrix((np.rint(taken_UI.data * UNITS).astype(np.int64), taken_UI.indices, taken_UI.indptr), shape=taken_UI.shape)
    return Sums(groups, (z_UG.T @ z_UG).toarray(), _ordered(z_UG.T @ units_UI))


def _without(sums: Sums, gone: Sums) -> Sums:
    """Groups in which nobody is left go too."""
    place = {group: g for g, group in enumerate(sums.groups)}
    if not set(gone.groups) <= set(place):
        raise TrainingError("people to be forgotten are in groups that were never seen", fix="train again")
    at = [place[group] for group in gone.groups]
    put_GH = sp.csr_matrix((np.ones(len(at), np.int64), (at, range(len(at)))), shape=(len(place), len(at)))
    people_GG = sums.people_GG - put_GH @ gone.people_GG @ put_GH.T
    kept = np.flatnonzero(people_GG.diagonal() > 0)
    kept = kept if len(kept) and kept[0] == 0 else np.zeros(1, np.int64)
    return Sums([sums.groups[g] for g in kept], people_GG[np.ix_(kept, kept)], _ordered((sums.taken_GI - put_GH @ gone.taken_GI)[kept]))


def _membership(attributes: Mapping[str, NDArray[np.object_]], groups: Groups, n: int) -> sp.csr_matrix:
    """z [n, G]; everyone is in group 0."""
    rows, columns = list(range(n)), [0] * n
    for name in dict.fromkeys(name for name, _ in groups if name):
        for b, value in enumerate(attributes.get(name, ())):
            if (g := groups.get((name, _label(value)))) is not None:
                rows.append(b)
                columns.append(g)
    return sp.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(n, len(groups)))


def _label(value: Any) -> str:
    """The name of a group: "" = not known. 30 and 30.0 are the same."""
    if value is None or value != value:
        return ""
    return f"{value:g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def _ordered(matrix: Any) -> sp.csr_matrix:
    out = sp.csr_matrix(matrix)
    out.eliminate_zeros()
    out.sort_indices()
    return out


def _pack(sums: Sums) -> State:
    return {"groups": _bytes(sums.groups), "people": sums.people_GG, "taken": sums.taken_GI}


def _unpack(state: State) -> Sums:
    return Sums(_names(state["groups"]), np.asarray(state["people"]), sp.csr_matrix(state["taken"]))


def _bytes(groups: list[tuple[str, str]]) -> NDArray[np.uint8]:
    return np.frombuffer(msgspec.json.encode(groups), np.uint8)


def _names(array: Any) -> list[tuple[str, str]]:
    return msgspec.json.decode(np.asarray(array, np.uint8).tobytes(), type=list[tuple[str, str]])
