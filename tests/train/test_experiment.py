"""daogou evaluate: rankers by name beside the models, what each cost, and nothing of the test window read before it is time."""

from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from daogou.contract import Run
from daogou.data.dataset import Dataset
from daogou.errors import UnknownName
from daogou.evaluate.report import Report, to_json
from daogou.models.ease import Ease
from daogou.scenario import Scenario
from daogou.train.experiment import experiment


@pytest.fixture
def rankers(scenario: Scenario) -> Scenario:
    quick: dict[str, Any] = {
        "ranked": {"trees": 20, "smallest_leaf": 20},
        "logit": {"kind": "estimator", "estimator": "sklearn.linear_model:LogisticRegression"},
        "forest": {"kind": "estimator", "estimator": "sklearn.ensemble:RandomForestClassifier", "settings": {"n_estimators": 20}},
    }
    return replace(scenario, rankers=quick)


def test_rankers_stand_beside_the_models_with_what_they_cost(data: Dataset, rankers: Scenario) -> None:
    report = experiment(data, rankers, models=("ease", "popular", "ranked", "logit", "forest"), threads=1)
    out = to_json(report)["models"]
    assert set(out) == {"ease", "popular", "blend", "ranked", "logit", "forest", "recent"}
    assert len({out[name]["ndcg@10"] for name in ("blend", "ranked", "logit", "forest")}) == 4  # four different orders
    for name in ("ease", "ranked", "logit"):
        assert out[name]["fit_s"] > 0
        assert out[name]["peak_mib"] > 50


def test_vectors_are_kept_for_the_next_time(data: Dataset, scenario: Scenario, tmp_path: Path) -> None:
    reading = replace(scenario, models={**scenario.models, "content": {"text_encoder": "ngram"}})
    told: list[str] = []
    for _ in range(2):
        told.append("again")
        experiment(data, reading, models=("content",), threads=1, vectors=tmp_path, progress=lambda step, *_: told.append(step))
    assert [path.suffix for path in tmp_path.iterdir()] == [".sqlite3"]
    first, second = " ".join(told).split("again")[1:]
    assert "encode: ngram" in first and "encode: ngram" not in second


def test_a_ranker_that_cannot_be_learned_is_a_warning(data: Dataset, rankers: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daogou.train.nested.FEWEST", 10_000)
    report = experiment(data, rankers, models=("ease", "popular", "ranked"), threads=1)
    assert any(text.startswith("ranked was left out") for text in report.warnings)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ZeroDivisionError("by chance"), "ease was left out: ZeroDivisionError: by chance"),
        (MemoryError("Unable to allocate 8 GiB"), "ease was left out: out of memory (Unable to allocate 8 GiB); lower its dimensions"),
    ],
)
def test_a_model_that_fails_is_a_warning_and_the_others_are_compared(
    data: Dataset, scenario: Scenario, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def broken(self: Any, data: Dataset, run: Run) -> None:
        raise error

    monkeypatch.setattr(Ease, "_fit", broken)
    report = experiment(data, scenario, models=("ease", "popular", "covisit"), threads=1)
    assert set(report.comparison.results) == {"popular", "covisit", "recent"}
    assert any(text.startswith(said) for text in report.warnings)


def test_a_wrong_name_says_which_rankers_there_are(data: Dataset, scenario: Scenario) -> None:
    with pytest.raises(UnknownName, match="did you mean 'ranked'"):
        experiment(data, scenario, models=("ease", "rankd"), threads=1)


def test_other_test_events_change_no_weight(data: Dataset, rankers: Scenario) -> None:
    """Scores of blend and ranker for the same questions are equal, whatever happened in the test window."""

    def lists(of: Dataset) -> tuple[Report, Any]:
        report = experiment(of, rankers, models=("ease", "popular", "ranked"), threads=1)
        return report, report.comparison.results["ranked"]

    first, mine = lists(data)
    start = int(np.quantile(data.events.time[data.weight_E > 0], 0.9, method="higher"))
    item = np.where(data.events.time >= start, (data.events.item + 7) % data.n_items, data.events.item).astype(np.int32)
    second, theirs = lists(changed(data, events=changed(data.events, item=item)))
    assert first.split["test_from"] == second.split["test_from"]
    both = np.intersect1d(mine.user_Q, theirs.user_Q)
    assert len(both) > 10
    mine_lists, theirs_lists = ([r.lists_QK[np.flatnonzero(r.user_Q == u)[0]].tolist() for u in both] for r in (mine, theirs))
    assert mine_lists == theirs_lists
