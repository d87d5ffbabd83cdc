"""Every registered model passes the contract suite. A new one is tested by being registered; a line below declares in what it differs."""

from typing import Any

import pytest

from daogou import plugins
from daogou.config import Config, hyperparameters
from daogou.errors import MissingExtra
from daogou.testing.contract import RecommenderContract

DIFFERS: dict[str, dict[str, Any]] = {
    "content": {"needs_events": False},
    "registration": {"personal": False},
    "popular": {"personal": False},
    "repurchase": {"explores": False},
    "mf": {"user_rows": True},
    "ncf": {"user_rows": True},
    "neumf": {"user_rows": True},
}
"Class attributes of the contract suite by model."

SETTINGS: dict[str, dict[str, Any]] = {
    "gru": {"dimensions": 16, "units": 32, "length": 12, "epochs": 40, "patience": 40, "negatives": 0, "dropout": 0.0, "learning_rate": 2e-2},
    "keras": {"build": "daogou.testing.nets:history", "length": 6, "epochs": 30},
    "mf": {"loss": "softmax", "dimensions": 8},
    "ncf": {"dimensions": 4, "epochs": 30, "patience": 30, "learning_rate": 2e-2, "batch_size": 256},
    "neumf": {"dimensions": 4, "epochs": 30, "patience": 30, "learning_rate": 2e-2, "batch_size": 256},
    "sasrec": {"dimensions": 16, "length": 12, "blocks": 1, "epochs": 30, "patience": 30, "negatives": 0, "dropout": 0.0, "learning_rate": 1e-2},
    "two_tower": {
        "dimensions": 16,
        "length": 12,
        "epochs": 40,
        "patience": 40,
        "batch_size": 64,
        "negatives": 32,
        "left_out": 0.1,
        "dropout": 0.0,
        "learning_rate": 2e-2,
        "holdout_users": 0,
    },
}
"Hyperparameters that suit tiny data, where the defaults do not."


def load(name: str) -> Any:
    try:
        return plugins.load("model", name)
    except MissingExtra as e:
        pytest.skip(str(e))


def suite(name: str) -> type:
    def make(self: Any) -> Any:
        return load(name)(**SETTINGS.get(name, {}))

    return type(f"Test_{name}", (RecommenderContract,), {"make": make, **DIFFERS.get(name, {})})


for _name in plugins.names("model"):
    globals()[f"Test_{_name}"] = suite(_name)


@pytest.mark.parametrize("name", plugins.names("model"))
def test_hyperparameters_are_documented_and_searchable(name):
    settings = load(name).Settings
    assert issubclass(settings, Config)
    for h in hyperparameters(settings):
        assert h.doc, f"{name}.{h.name} has no docstring"
        if h.low is not None:
            assert h.low < h.high
            assert not h.log or h.low > 0


@pytest.mark.parametrize("name", plugins.names("model"))
def test_a_misspelt_hyperparameter_is_an_error(name):
    with pytest.raises(Exception, match="unknown field"):
        load(name)(no_such_setting=1)


def test_nothing_is_declared_of_models_that_do_not_exist():
    assert set(DIFFERS) | set(SETTINGS) <= set(plugins.names("model"))
