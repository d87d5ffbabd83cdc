"""What goes with an item: the guide shows the scenario's placement for it, and nothing as going with it for which no model speaks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from daogou.config import decode_toml
from daogou.data.rows import Item
from daogou.engine import Engine
from daogou.guide.dialogue import Guide, Question
from daogou.release import open_current
from daogou.scenario import Project, Scenario
from daogou.store import Store
from daogou.train.fit import train

SCENARIO = """
name = "clothes"
[events]
view = 0.5
[attributes.items]
gender = "tag"
color = "tag"
[models.content]
text_encoder = "ngram"
[[placements]]
name = "with"
about = "items"
retrieve = ["content"]
filter = "gender = $item.gender and not category = $item.category[1]"
[answers]
bought_together = "with"
"""

KINDS = ("Tops > Shirts", "Tops > Coats", "Trousers > Jeans", "Shoes > Boots")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Every kind in two colours for men and women, three times."""
    goods = [
        Item(
            item_id=f"{kind[-5:]}{color}{gender}{n}",
            title=f"{color} {kind.rpartition('> ')[2]} {n}",
            category=kind,
            price=100.0 * (n + 1),
            attributes={"gender": gender, "color": color},
        )
        for kind in KINDS
        for color in ("Red", "Black")
        for gender in ("Men", "Women")
        for n in range(3)
    ]
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('together')}/store.sqlite3") as opened:
        opened.put_items(goods)
        yield opened


@pytest.fixture(scope="module")
def engine(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    directory: Path = tmp_path_factory.mktemp("project")
    scenario, project = decode_toml(SCENARIO, Scenario, "clothes.toml"), Project(directory=directory)
    train(project, store, scenario)
    return Engine(open_current(project.releases), scenario, store)


@pytest.mark.parametrize(
    ("first", "then"),
    [("red shirts for men", "the second one is nice, what goes with it?"), ("男士红色衬衫", "第二个配什么好看"), ("red shirts for men", "what matches it?")],
)
def test_what_goes_with_it_is_of_another_kind_for_the_same_person(engine: Engine, first: str, then: str) -> None:
    guide = Guide()
    before = guide.ask(engine, Question(text=first))
    reply = guide.ask(engine, Question(text=then, conversation_id=before.conversation_id))
    assert before.items[1 if "second" in then or "第二" in then else 0].item.title in reply.reply  # type: ignore[union-attr, operator]
    rows = [one.item for one in reply.items if one.item]
    assert rows and {row.attributes["gender"] for row in rows} == {"Men"} and not any(str(row.category).startswith("Tops") for row in rows)
    assert rows[0].attributes["color"] == "Red"
    assert all(chip.attribute in ("gender", "price") for chip in reply.understood)


def test_a_kind_and_a_price_said_along_hold(engine: Engine) -> None:
    guide = Guide()
    before = guide.ask(engine, Question(text="red shirts for women under 250"))
    reply = guide.ask(engine, Question(text="which black jeans go with it?", conversation_id=before.conversation_id))
    assert reply.items and all(
        one.item is not None and one.item.category == "Trousers > Jeans" and one.item.attributes["color"] == "Black" and one.item.price < 250  # type: ignore[operator]
        for one in reply.items
    )


def test_nothing_is_said_to_go_with_it_where_no_model_speaks(store: Store) -> None:
    engine, guide = Engine(None, decode_toml(SCENARIO, Scenario, "clothes.toml"), store), Guide()
    before = guide.ask(engine, Question(text="red shirts for men"))
    reply = guide.ask(engine, Question(text="what goes with it?", conversation_id=before.conversation_id))
    assert "I found nothing that goes with" in reply.reply and reply.items
