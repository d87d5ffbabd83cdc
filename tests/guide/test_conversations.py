"""Forty scripted conversations in each language over the real catalogue: the share that is solved within three turns."""

from pathlib import Path

import msgspec
import pytest

from daogou.engine import Engine
from daogou.guide.dialogue import Guide, Question

FLOOR = 0.9
SCRIPTS = msgspec.toml.decode((Path(__file__).parent / "conversations.toml").read_bytes())


def solved(engine: Engine, guide: Guide, turns: list[str], wanted: str) -> bool:
    """Whether after the last turn everything that is shown is what the shopper is after."""
    wanted_I, name = engine.matching([wanted]), None
    for text in turns:
        reply = guide.ask(engine, Question(text=text, conversation_id=name))
        name = reply.conversation_id
    return bool(reply.items) and all(wanted_I[engine.catalogue.items.code(one.item_id)] for one in reply.items)


@pytest.mark.slow
@pytest.mark.parametrize("language", ["en", "zh"])
def test_conversations_are_solved_within_three_turns(language: str, fashion: Engine) -> None:
    guide, scripts = Guide(), [(one["turns"], one["wanted"]) for one in SCRIPTS[language]]
    assert len(scripts) == 40 and all(len(turns) <= 3 and fashion.matching([wanted]).any() for turns, wanted in scripts)
    failed = [turns for turns, wanted in scripts if not solved(fashion, guide, turns, wanted)]
    assert 1 - len(failed) / len(scripts) >= FLOOR, failed
