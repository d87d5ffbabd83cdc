"""Trains the network of taste_net.py with `model.fit`, evaluates it beside the others, and serves it.

    python examples/keras-model/run.py [--folder DIR]

The data are made up: people of two tastes. Any other `Dataset` will do.
"""

import argparse
import os
import tempfile
from importlib import import_module
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")  # before the first import of keras

from litestar.testing import TestClient

from daogou.data.split import split
from daogou.evaluate import evaluate
from daogou.models.ease import Ease
from daogou.models.keras_adapter import KerasModel, next_items
from daogou.models.popular import Popular
from daogou.scenario import load_project
from daogou.serve.app import create_app
from daogou.store import Store
from daogou.testing.project import fill
from daogou.testing.toy import random_dataset
from daogou.train.fit import train

HERE = Path(__file__).parent
LENGTH = 10


def by_hand() -> KerasModel:
    """The network is trained as any other is, then wrapped; the evaluator sees one more recommender."""
    data = random_dataset(1, n_users=400, n_items=60, n_events=12_000)
    parts = split(data, "leave-one-out")
    net = import_module("taste_net").build(data.n_users, data.n_items, LENGTH)
    codes, wanted = next_items(parts.train.histories, LENGTH, targets=20)
    net.fit(codes, wanted, batch_size=256, epochs=8, verbose=0)
    taste = KerasModel.of(net, data.n_items, length=LENGTH)
    for name, model in {"taste": taste, "ease": Ease().fit(parts.train), "popular": Popular().fit(parts.train)}.items():
        result = evaluate(model, parts.test)
        low, high = result.ci95["ndcg@10"]
        print(f"{name:<8} NDCG@10 {result.mean('ndcg@10'):.4f} [{low:.4f}, {high:.4f}]")
    return taste


def in_a_shop(folder: Path) -> None:
    """Named in a scenario, it is trained, checked, published and served as the built-in models are."""
    (folder / "daogou.toml").write_text(f'scenario = "{HERE / "shop.toml"}"\nstore = "sqlite:///store.sqlite3"\n', "utf-8")
    project = load_project(folder)
    scenario = project.load_scenario()
    with Store.open(project.store_url) as store:
        fill(store, random_dataset(1, n_users=400, n_items=60, n_events=12_000))
        print(train(project, store, scenario))
    with TestClient(create_app(project, open_access=True)) as client:
        answer = client.post("/v1/recommendations", json={"placement": "home.for_you", "user_id": "u3", "k": 3}).json()
    print("served:", ", ".join(shown["item_id"] for shown in answer["items"]), "(degraded)" if answer["degraded"] else "")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--folder", type=Path, help="where the shop is made; default: a temporary one")
    folder = options.parse_args().folder
    by_hand()
    with tempfile.TemporaryDirectory() as temporary:
        in_a_shop(folder or Path(temporary))


if __name__ == "__main__":
    main()
