"""Intervals and paired comparison: coverage of the truth, agreement with the closed form, and honest verdicts."""

import numpy as np
import pytest
from scipy import stats

from daogou.errors import UnknownName, UsageError
from daogou.evaluate import Result, over_seeds, paired
from daogou.evaluate.result import bootstrap


def result(values: object, **totals: float) -> Result:
    array = np.asarray(values, np.float64)
    return Result({"ndcg@10": array}, totals, np.arange(len(array), dtype=np.int32), np.zeros((len(array), 1), np.int32))


def test_interval_is_that_of_the_normal_for_many_queries() -> None:
    values = np.random.default_rng(1).normal(0.3, 0.2, 4000)
    found = result(values).ci95["ndcg@10"]
    half = 1.96 * values.std(ddof=1) / np.sqrt(4000)
    assert found.low == pytest.approx(values.mean() - half, abs=0.0006)
    assert found.high == pytest.approx(values.mean() + half, abs=0.0006)


def test_interval_holds_the_truth_in_about_19_of_20_experiments() -> None:
    rng = np.random.default_rng(2)
    held = sum(low[0] <= 0.2 <= high[0] for low, high in (bootstrap(rng.random((120, 1)) < 0.2, 1000) for _ in range(200)))
    assert 180 <= held <= 199


def test_interval_is_the_same_every_time_and_skips_missing_values() -> None:
    values = np.random.default_rng(3).random(50)
    with_holes = np.append(values, [np.nan] * 50)
    assert result(values).ci95 == result(values.copy()).ci95
    assert result(with_holes).mean("ndcg@10") == pytest.approx(values.mean())
    low, high = result(with_holes).ci95["ndcg@10"]
    assert low < values.mean() < high
    assert np.isnan(result([np.nan, np.nan]).ci95["ndcg@10"].low)


def test_chunks_of_resampling_do_not_change_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(4).random((300, 2))
    whole = bootstrap(values)
    monkeypatch.setattr("daogou.evaluate.result.CHUNK_BYTES", 8 * 300 * 7)
    assert np.allclose(whole, bootstrap(values), atol=1e-12)


def test_paired_agrees_with_the_t_test_and_finds_what_unpaired_misses() -> None:
    rng = np.random.default_rng(5)
    base = rng.random(400)
    better = result(base + rng.normal(0.01, 0.03, 400))
    found = paired(better, result(base))
    expected = stats.ttest_rel(better.values["ndcg@10"], base)
    assert (found.t, found.p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)
    assert found.effect == pytest.approx(found.t / np.sqrt(400))
    assert not found.inside_noise
    assert found.verdict.startswith("better: +0.0")
    assert paired(result(base), better).verdict.startswith("worse: -0.0")
    assert better.ci95["ndcg@10"].low < base.mean()  # each interval alone would not have told


def test_no_difference_is_inside_the_noise() -> None:
    rng = np.random.default_rng(6)
    a, b = result(rng.random(200)), result(rng.random(200))
    assert paired(a, b).verdict.startswith("inside the noise")
    same = paired(a, a)
    assert (same.difference, same.t, same.p, same.effect) == (0, 0, 1, 0)
    assert same.inside_noise
    assert paired(result([0.5]), result([0.1])).inside_noise  # one user proves nothing
    sure = paired(result([0.5] * 9), result([0.25] * 9))
    assert (sure.effect, sure.p, sure.relative) == (np.inf, 0, 1)


def test_false_alarms_are_as_rare_as_promised() -> None:
    rng = np.random.default_rng(7)
    alarms = sum(not paired(result(rng.random(80)), result(rng.random(80))).inside_noise for _ in range(100))
    assert alarms <= 12


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(UsageError, match="different queries"):
        paired(result([1, 2]), result([1, 2, 3]))
    with pytest.raises(UnknownName, match="no metric"):
        paired(result([1, 2], **{"coverage@10": 0.5}), result([1, 2]), "coverage@10")
    with pytest.raises(UnknownName, match=r"did you mean 'ndcg@10'"):
        result([1]).mean("ndcg@1O")


def test_seeds_are_averaged_per_query_with_the_spread_between_them() -> None:
    runs = [result([0.0, 0.2], **{"coverage@10": 0.1}), result([0.4, 0.6], **{"coverage@10": 0.3})]
    found = over_seeds(runs)
    assert found.values["ndcg@10"] == pytest.approx([0.2, 0.4])
    assert found.mean("coverage@10") == pytest.approx(0.2)
    assert found.spread["ndcg@10"] == pytest.approx(np.std([0.1, 0.5], ddof=1))
    assert found.seeds == 2
    assert over_seeds(runs[:1]) is runs[0]
    with pytest.raises(UsageError, match="different queries"):
        over_seeds([result([1]), result([1, 2])])
    with pytest.raises(UsageError, match="no result"):
        over_seeds([])
