"""The guide with a language model beside it, where the project names one: rules read, the model adds; the engine finds; the model phrases, the rules judge.

The model costs a turn at most its budget, whatever it does; without an answer of its, or without a model, the turn is that of the rules.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from daogou.engine import Engine
from daogou.guide.dialogue import Guide, Question, Reply
from daogou.guide.language_model import LanguageModel
from daogou.guide.phrasing import phrase_with
from daogou.guide.reading import read_with
from daogou.guide.tokens import is_cjk
from daogou.guide.understand import Understood, understand

T = TypeVar("T")
Run = Callable[..., Awaitable[Any]]
"""Runs a blocking call beside the event loop: ``await run(call, *args)``."""
READING = 0.5
"""Share of the budget after which reading is given up, so that time is left to phrase."""


class Assistant:
    """Turns of `guide`. `model` = None: by rules alone.

    Args:
        run: how the rules' part is run; it never waits for the model, so that a few threads are enough.
    """

    def __init__(self, guide: Guide, model: LanguageModel | None, run: Run) -> None:
        self.guide, self.model, self._run = guide, model, run

    async def ask(self, engine: Engine, question: Question) -> Reply:
        """
        Raises:
            UsageError: as `Guide.ask`.
        """
        model = self.model
        if model is None:
            reply: Reply = await self._run(self.guide.ask, engine, question)
            return reply
        began = time.monotonic()
        budget_s = model.settings.budget_s
        read = await self._read(engine, question, model, began + READING * budget_s)
        turned = await self._run(self.guide.turn, engine, question, read)
        reply = turned.reply
        if not (turned.plain and reply.items and question.image is None and model.settings.phrase):
            return reply  # what was relaxed, refused, remarked or seen in a photo is said in our own words
        chinese = question.locale.lower().startswith("zh") if question.locale else is_cjk(reply.reply)
        text = await phrase_with(model, read.text, reply, chinese, began + budget_s)
        return reply if text is None else msgspec.structs.replace(reply, reply=text)

    async def _read(self, engine: Engine, question: Question, model: LanguageModel, deadline: float) -> Understood:
        values, read = await self._run(self._by_rules, engine, question.text)
        return await read_with(model, read, values, deadline) if model.settings.read else read

    def _by_rules(self, engine: Engine, text: str) -> tuple[Any, Understood]:
        values = self.guide.values(engine)
        return values, understand(text, values)
