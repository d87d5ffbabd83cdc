"""What the routes work with, made once by `app` and kept in `app.state`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from daogou.guide.assistant import Assistant
from daogou.guide.dialogue import Guide
from daogou.scenario import Project, Scenario
from daogou.serve.chats import Chats
from daogou.serve.limits import Desk
from daogou.serve.live import Live
from daogou.serve.metrics import Metrics
from daogou.serve.shown import ShownLog
from daogou.store import Store

Erase = Callable[[Project, Store, str], Any]
"""Erases one person everywhere, models included, and answers with a receipt; given by whoever starts the server, for serving knows no training."""


@dataclass(frozen=True, slots=True)
class Services:
    """Handed to each handler that asks for `services`."""

    project: Project
    scenario: Scenario
    store: Store
    live: Live
    desk: Desk
    shown: ShownLog
    metrics: Metrics
    erase: Erase | None
    guide: Guide
    assistant: Assistant
    "The guide as shoppers ask it: with the project's language model, where it names one."
    chats: Chats = field(default_factory=Chats)
    erasing: Lock = field(default_factory=Lock)
    "Held while someone is erased: two at once would each write a release without the other's."


Given = NamedDependency[SkipValidation[Services]]
"""Annotation of a handler's argument `services`; not validated, for it is ours and made once."""
