from typing import Annotated

import pytest

from daogou.config import Config, decode_toml, hyper, hyperparameters
from daogou.errors import ConfigError, UnknownName
from daogou.scenario import BUILT_IN, Project, Scenario, load_project, load_scenario

SCENARIO = """name = "x"
[events]
view = 1
[models.ease]
[[placements]]
name = "a"
retrieve = ["ease"]
size = 3
[[placements]]
name = "b"
retrieve = ["ease"]
{line}
"""


class Small(Config):
    rate: Annotated[float, hyper("Step length.", 1e-4, 1e-1, log=True, unit="1", gt=0)] = 0.01
    name: str = "x"


def test_a_hyperparameter_is_read_back_from_its_one_field() -> None:
    rate, name = hyperparameters(Small)
    assert (rate.name, rate.default, rate.doc, rate.low, rate.high, rate.log, rate.unit) == ("rate", 0.01, "Step length.", 1e-4, 1e-1, True, "1")
    assert name.low is None


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("sizee = 4", "s.toml line 12: placements[1]: Object contains unknown field `sizee`; did you mean `size`?"),
        ("size = 0", "s.toml line 12: placements[1].size: Expected `int` >= 1"),
        ('size = "6"', "s.toml line 12: placements[1].size: Expected `int`, got `str`"),
    ],
)
def test_an_error_names_line_key_and_remedy(line: str, says: str) -> None:
    with pytest.raises(ConfigError) as e:
        decode_toml(SCENARIO.format(line=line), Scenario, "s.toml")
    assert str(e.value) == says


def test_a_placement_may_only_retrieve_from_declared_models() -> None:
    with pytest.raises(ConfigError, match="retrieves from 'als'"):
        decode_toml(SCENARIO.replace('["ease"]', '["als"]').format(line=""), Scenario, "s.toml")


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_scenarios_load_and_speak_both_languages(name: str) -> None:
    scenario = load_scenario(name)
    assert set(scenario.words["en"]) == set(scenario.words["zh"])
    assert all(set(place.title) == {"en", "zh"} for place in scenario.placements)
    for model in scenario.models:
        assert f"because.{model}" in scenario.words["en"]


def test_unknown_scenarios_and_projects_say_what_to_do(tmp_path) -> None:
    with pytest.raises(UnknownName, match="did you mean 'shop'"):
        load_scenario("shopp")
    with pytest.raises(ConfigError, match="daogou init"):
        load_project(tmp_path)


def test_a_relative_store_lies_in_the_project(tmp_path) -> None:
    (tmp_path / "daogou.toml").write_text('scenario = "shop"\n')
    assert load_project(tmp_path).store_url == f"sqlite:///{tmp_path}/store.sqlite3"
    assert Project(store="postgresql+psycopg://h/d").store_url == "postgresql+psycopg://h/d"
