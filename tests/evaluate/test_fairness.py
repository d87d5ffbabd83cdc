"""Groups and exposure on numbers that can be added up by hand."""

import numpy as np
import polars as pl
import pytest

from daogou.contract import Queries
from daogou.data.dataset import Dataset, from_frames
from daogou.data.histories import Histories
from daogou.data.split import Targets
from daogou.errors import UnknownName
from daogou.evaluate import Result, by_group, exposure_by, quality_by_group
from daogou.evaluate.fairness import group_names


def asked(values: list[float], groups: list[object]) -> tuple[Result, Targets]:
    n = len(values)
    queries = Queries(
        history=Histories.empty(n),
        user_B=np.arange(n, dtype=np.int32),
        now_B=np.zeros(n, np.int64),
        context=Histories.empty(n),
        attributes={"region": np.array(groups, dtype=object)},
    )
    result = Result({"ndcg@10": np.array(values)}, {}, queries.user_B, np.zeros((n, 1), np.int32))
    return result, Targets(queries, Histories.of([[0]] * n))


def test_worst_group_and_gap() -> None:
    result, targets = asked([0.1, 0.2] * 20 + [0.4, 0.6] * 20 + [0.9] * 5 + [0.0] * 35, ["north"] * 40 + ["south"] * 40 + ["isle"] * 5 + [None] * 35)
    found = by_group(result, targets, "region")
    assert [(g.name, g.n, g.too_small) for g in found.groups] == [("isle", 5, True), ("south", 40, False), ("north", 40, False), ("not given", 35, False)]
    assert (found.best.name, found.worst.name) == ("south", "north")  # neither the five of the isle nor those who said nothing are judged
    assert found.gap == pytest.approx(0.35)
    assert not found.inside_noise
    assert found.groups[1].ci95.low < 0.5 < found.groups[1].ci95.high
    assert "worst for north (0.1500) and best for south (0.5000), a gap of 0.3500." in found.sentence
    assert quality_by_group({"m": result}, targets, ["region"])["region"]["m"] == found


def test_a_gap_of_chance_is_called_so() -> None:
    rng = np.random.default_rng(9)
    found = by_group(*asked(rng.random(80).tolist(), ["a", "b"] * 40), "region")
    assert found.gap > 0
    assert found.inside_noise
    assert "their intervals overlap" in found.sentence


def test_one_group_alone_is_not_compared() -> None:
    found = by_group(*asked([0.5] * 40 + [0.1] * 3, ["a"] * 40 + ["b"] * 3), "region")
    assert found.worst is None
    assert found.gap == 0
    assert "nothing to compare" in found.sentence


def test_numbers_of_many_values_become_bands_of_equal_size() -> None:
    names = group_names(np.array([*range(100), None, float("nan")], dtype=object))
    counts = dict(zip(*np.unique(names, return_counts=True), strict=True))
    assert counts["not given"] == 2
    assert sorted(counts[name] for name in counts if name != "not given") == [25, 25, 25, 25]
    assert names[0] == "0 to below 24.75"
    assert names[99] == "74.25 to 99"
    assert group_names(np.array([1.0, 2.0, None], dtype=object)).tolist() == ["1", "2", "not given"]
    assert group_names(np.array([True, False, ""], dtype=object)).tolist() == ["True", "False", "not given"]


@pytest.fixture
def data() -> Dataset:
    items = pl.DataFrame({"item_id": list("abcdef"), "brand": ["X", "X", "Y", "Y|Z", None, "W"]})
    events = pl.DataFrame({"user_id": list("uuvvvv"), "item_id": list("aabcde"), "event": "buy", "time": range(6)})
    return from_frames(events, items)


def test_exposure_against_catalogue_and_what_was_taken(data: Dataset) -> None:
    lists = np.array([[0, 1], [0, 3]], np.int32)
    result = Result({}, {}, np.arange(2, dtype=np.int32), lists)
    found = exposure_by(result, data, "brand", k=2)
    shares = {share.name: share for share in found.shares}
    assert [share.name for share in found.shares][:1] == ["X"]
    assert {name: share.shown for name, share in shares.items()} == pytest.approx({"X": 0.75, "Y": 0.125, "Z": 0.125, "not given": 0, "W": 0})
    assert {name: share.catalogue for name, share in shares.items()} == pytest.approx({"X": 2 / 6, "Y": 1.5 / 6, "Z": 0.5 / 6, "not given": 1 / 6, "W": 1 / 6})
    assert {name: share.taken for name, share in shares.items()} == pytest.approx({"X": 3 / 6, "Y": 1.5 / 6, "Z": 0.5 / 6, "not given": 1 / 6, "W": 0})
    assert shares["X"].ratio == pytest.approx(1.5)
    assert np.isnan(shares["W"].ratio)
    assert found.gini > found.gini_taken
    assert "X has most places (75.0%; 50.0% of what was taken); 2 of 5 values are never shown" in found.sentence
    assert exposure_by(result, data, "brand", k=1).shares[0].shown == 1


def test_wrong_names_say_which_exist(data: Dataset) -> None:
    with pytest.raises(UnknownName, match="did you mean 'brand'"):
        exposure_by(Result({}, {}, np.zeros(0, np.int32), np.zeros((0, 1), np.int32)), data, "brend")
    with pytest.raises(UnknownName, match="did you mean 'region'"):
        by_group(*asked([0.1], ["a"]), "regin")
    with pytest.raises(UnknownName, match="no metric"):
        by_group(*asked([0.1], ["a"]), "region", "hr@7")
