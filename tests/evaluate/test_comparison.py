"""Who leads, what is said about it, and where two protocols disagree."""

from dataclasses import replace

import numpy as np
import pytest

from daogou.errors import UnknownName, UsageError
from daogou.evaluate import Comparison, Result, beside, compare


def result(values: object) -> Result:
    array = np.asarray(values, np.float64)
    return Result({"ndcg@10": array}, {}, np.arange(len(array), dtype=np.int32), np.zeros((len(array), 1), np.int32))


RNG = np.random.default_rng(8)
BASE = RNG.random(500) * 0.4
NOISE = RNG.normal(0, 0.05, 500)
NOISE -= NOISE.mean()  # so that the shift alone decides who leads


def comparison(**shift: float) -> Comparison:
    return compare({"base": result(BASE), **{name: result(BASE + by + NOISE) for name, by in shift.items()}}, "base")


def test_order_and_sentence() -> None:
    found = comparison(good=0.1, bad=-0.1)
    assert found.order() == ["good", "base", "bad"]
    assert found.sentence.startswith(f"good leads with ndcg@10 {BASE.mean() + 0.1:.4f} [")
    assert "against the baseline base it is better: +0.1" in found.sentence
    assert list(found.against_baseline()) == ["good", "bad"]
    assert found.against_baseline()["bad"].verdict.startswith("worse")
    assert found.warnings == []
    assert "no model is better than the baseline" in comparison(bad=-0.1).sentence


def test_a_model_without_a_figure_comes_last() -> None:
    found = compare({"base": result([0.1, 0.2]), "void": result([np.nan, np.nan])}, "base")
    assert found.order() == ["base", "void"]


def test_warnings_name_what_is_not_to_be_believed() -> None:
    same, small = comparison(twin=0.0), comparison(little=0.008)
    assert any("twin and base (baseline) cannot be told apart" in said or "base and twin cannot be told apart" in said for said in same.warnings)
    assert any("below 5% an offline gain rarely shows online" in said for said in small.warnings)
    few = compare({"base": result(BASE[:50]), "good": result(BASE[:50] + 0.3)}, "base")
    assert any("Only 50 users were asked for" in said for said in few.warnings)
    leak = compare({"base": result(BASE), "oracle": result(np.full(500, 0.99))}, "base")
    assert any("too good to be true" in said for said in leak.warnings)


def test_a_lead_that_another_seed_could_turn_is_said() -> None:
    """Over people the difference is sure; over seeds it is not."""
    base, good = result(BASE), result(BASE + 0.1 + NOISE)

    def said(sd: float, seeds: int) -> list[str]:
        return compare({"base": base, "good": replace(good, seeds=seeds, spread={"ndcg@10": sd})}, "base").warnings

    assert said(0.01, 3) == []
    (warning,) = said(0.12, 3)
    assert "seed alone move the difference of +0.1000 by ± 0.0693" in warning
    assert said(0.12, 9) == []


def test_only_results_of_one_split_are_compared() -> None:
    with pytest.raises(UnknownName, match="did you mean 'popular'"):
        compare({"popular": result([1])}, "popula")
    with pytest.raises(UsageError, match=r"answer \[1, 2\] queries"):
        compare({"a": result([1]), "b": result([1, 2])}, "a")
    with pytest.raises(UnknownName, match="no model named 'x'"):
        comparison().paired("x", "base")


def test_beside_says_where_the_order_changes_and_whether_it_is_sure() -> None:
    time, loo = comparison(a=0.2, b=0.1, c=0.0005), comparison(a=0.1, b=0.2, c=-0.0005)
    found = beside(time, loo, titles=("time", "leave-one-out"))
    assert [(row.model, row.first_place, row.second_place) for row in found.rows[:2]] == [("a", 1, 2), ("b", 2, 1)]
    assert ("a", "b", True) in found.swaps
    assert "a ↔ b (sure)" in found.sentence
    assert all(not swap.sure for swap in found.swaps if "c" in swap[:2])
    assert beside(time, time, titles=("x", "y")).sentence == "x and y put the models in the same order."
    with pytest.raises(UsageError, match="share no model"):
        beside(time, compare({"other": result(BASE)}, "other"), titles=("x", "y"))
