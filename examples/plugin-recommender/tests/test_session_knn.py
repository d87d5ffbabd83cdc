import polars as pl
from daogou_session_knn import SessionKnn

from daogou import plugins
from daogou.data.dataset import from_frames
from daogou.data.histories import Histories
from daogou.testing.contract import RecommenderContract, asked
from daogou.testing.toy import MINUTE_US, START_US


class TestSessionKnn(RecommenderContract):
    def make(self):
        return plugins.load("model", "session-knn")()


def test_it_is_installed_like_a_built_in_model():
    assert "session-knn" in plugins.names("model") and plugins.load("model", "session-knn") is SessionKnn


def test_the_nearest_item_of_the_likest_visit_comes_first():
    rows = [("u", "a", 0), ("u", "b", 1), ("u", "c", 2), ("v", "d", 0), ("v", "e", 1), ("w", "a", 0), ("w", "x", 9000)]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "time"], orient="row")
    data = from_frames(frame.with_columns(pl.lit("view").alias("event"), pl.col("time") * MINUTE_US + START_US))
    model = SessionKnn().fit(data)
    a, b, c, x = (data.items.code(name) for name in "abcx")
    top = model.recommend(asked(Histories.of([[a]]), data), 4, ~Histories.of([[a]]).seen(data.n_items))
    assert top.codes_BK[0].tolist() == [b, c, -1, -1], "a visit ends with a pause, and nothing is invented"
    assert x not in top.codes_BK
