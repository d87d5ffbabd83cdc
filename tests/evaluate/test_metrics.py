"""Known answers, an independent implementation, and the bounds that ties must not break."""

import ir_measures
import numpy as np
import pytest
from ir_measures import AP, RR, P, R, Success, nDCG
from scipy.stats import mannwhitneyu

from daogou.data.histories import Histories
from daogou.evaluate.metrics import ranking_metrics
from daogou.evaluate.ranking import rank

KS = (1, 5, 10, 20)


def metrics_of(scores_BI: np.ndarray, wanted: Histories, ks: tuple[int, ...] = KS) -> dict[str, np.ndarray]:
    return ranking_metrics(rank(scores_BI.astype(np.float32), wanted, None, None, max(ks)), wanted, ks)


def test_agrees_with_ir_measures_to_1e_9() -> None:
    rng = np.random.default_rng(3)
    n_queries, n_items = 60, 150
    scores_BI = np.stack([rng.permutation(n_items) for _ in range(n_queries)]).astype(np.float32)  # no ties
    rows = [rng.choice(n_items, rng.integers(1, 40), replace=False) for _ in range(n_queries)]
    found = metrics_of(scores_BI, Histories.of(rows))

    asked = {f"{ours}@{k}": theirs @ k for ours, theirs in {"ndcg": nDCG, "precision": P, "recall": R, "mrr": RR, "map": AP, "hr": Success}.items() for k in KS}
    qrels = [ir_measures.Qrel(str(b), str(i), 1) for b, row in enumerate(rows) for i in row]
    run = [ir_measures.ScoredDoc(str(b), str(i), float(scores_BI[b, i])) for b in range(n_queries) for i in range(n_items)]
    checked = 0
    by_measure = {str(measure): name for name, measure in asked.items()}
    for answer in ir_measures.iter_calc(list(asked.values()), qrels, run):
        assert found[by_measure[str(answer.measure)]][int(answer.query_id)] == pytest.approx(answer.value, abs=1e-9), answer
        checked += 1
    assert checked == len(asked) * n_queries


def test_auc_agrees_with_mann_whitney_ties_included() -> None:
    rng = np.random.default_rng(4)
    scores_BI = rng.integers(0, 8, (30, 40)).astype(np.float64)  # scipy would otherwise compute in float32
    rows = [rng.choice(40, rng.integers(1, 12), replace=False) for _ in range(30)]
    found = metrics_of(scores_BI, Histories.of(rows))["auc"]
    for b, row in enumerate(rows):
        others = np.delete(scores_BI[b], row)
        assert found[b] == pytest.approx(mannwhitneyu(scores_BI[b, row], others).statistic / (len(row) * len(others)), abs=1e-12)


def test_known_answers() -> None:
    """Wanted items at places 1, 4 and 12 of 20."""
    places = np.arange(20)
    found = metrics_of(-places[None, :], Histories.of([[0, 3, 11]]))
    expected = {
        "hr@10": 1,
        "precision@10": 2 / 10,
        "recall@10": 2 / 3,
        "recall_capped@10": 2 / 3,
        "f1@10": 2 * (0.2 * 2 / 3) / (0.2 + 2 / 3),
        "mrr@10": 1,
        "map@10": (1 + 2 / 4) / 3,
        "map_capped@1": 1,
        "map@1": 1 / 3,
        "recall_capped@1": 1,
        "recall@1": 1 / 3,
        "ndcg@10": (1 + 1 / np.log2(5)) / (1 + 1 / np.log2(3) + 1 / np.log2(4)),
        "accuracy@10": 1 - (8 + 1) / 20,
        "auc": 1 - (0 + 2 + 9) / (3 * 17),
    }
    assert {name: found[name][0] for name in expected} == pytest.approx(expected, abs=1e-12)


def test_row_without_wanted_items_has_no_value() -> None:
    found = metrics_of(np.array([[3, 2, 1], [1, 2, 3]]), Histories.of([[], [2]]), ks=(1,))
    assert all(np.isnan(values[0]) for values in found.values())
    assert found["hr@1"][1] == 1


def test_ties_never_exceed_a_perfect_list() -> None:
    """Fifteen wanted items share rank 7: all lie below 10, yet a list of ten holds no more than ten."""
    scores_BI = np.array([[1] * 15 + [0] * 85])
    found = metrics_of(scores_BI, Histories.of([list(range(15))]), ks=(10,))
    assert found["precision@10"][0] == 1
    assert found["recall_capped@10"][0] == 1
    assert all(0 <= values[0] <= 1 for values in found.values())


def test_item_without_score_is_a_miss_even_in_a_tiny_catalogue() -> None:
    for nothing in (np.nan, -np.inf):
        found = metrics_of(np.full((1, 3), nothing), Histories.of([[1]]), ks=(3,))
        assert found["hr@3"][0] == found["mrr@3"][0] == found["ndcg@3"][0] == found["map@3"][0] == 0
        assert found["auc"][0] == 0.5
