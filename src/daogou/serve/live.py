"""The engine that answers now, and how another takes its place without a request noticing.

`CURRENT` is looked at once a second. A new release is loaded beside the live one, its digests are checked, a few questions are asked; then one
reference is replaced. A release that fails any of it is logged, counted and left alone: the live one goes on. At the start, when none is live yet,
a damaged release is better than nothing: what can be loaded of it answers, else an older one, else the newest items.
"""

import threading
from collections.abc import Callable, Sequence

import structlog

from daogou.engine import Engine
from daogou.errors import ReleaseError
from daogou.release import Release, current_id, list_releases, open_release
from daogou.request import Request
from daogou.scenario import Project, Scenario
from daogou.serve.metrics import Metrics
from daogou.store import Store

log = structlog.get_logger("daogou.serve")


class Live:
    """Holds the live engine. A request reads `engine` once and keeps what it read.

    Args:
        poll_s: how often CURRENT is looked at.
        prepare: what else is to be done with an engine before it answers.
    """

    def __init__(
        self,
        project: Project,
        scenario: Scenario,
        store: Store,
        metrics: Metrics,
        *,
        poll_s: float = 1.0,
        prepare: Callable[[Engine], None] = lambda engine: None,
    ) -> None:
        self._project, self._scenario, self._store, self._metrics, self._poll_s = project, scenario, store, metrics, poll_s
        self._prepare = prepare
        self._seen: str | None = None
        self._looking = threading.Lock()
        self._lock = threading.Lock()
        self._missed: set[str] | None = None  # items that changed while a new engine was being built; None = none is
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="daogou-live", daemon=True)
        self.engine = self._built(None)
        self._metrics.live(None)

    @property
    def release(self) -> str | None:
        """Id of the release that answers."""
        return self.engine.release.id if self.engine.release else None

    def start(self) -> None:
        """Makes what is published live, as much of it as can be, and begins to watch."""
        if not self.look():
            self._fall_back()
        if self.engine.release is None:
            self.engine.warm()
            self._prepare(self.engine)
        self._watcher.start()

    def close(self) -> None:
        self._stop.set()
        if self._watcher.is_alive():
            self._watcher.join()

    def catalogue_changed(self, item_ids: Sequence[str]) -> None:
        """Tells the live engine, and the one that is about to take its place."""
        with self._lock:
            engine = self.engine
            if self._missed is not None:
                self._missed.update(item_ids)
        engine.catalogue_changed(item_ids)

    def look(self) -> bool:
        """Loads the release that CURRENT names if it is not the one seen last; whether the engine was replaced. One caller at a time, others wait."""
        with self._looking:
            try:
                name = current_id(self._project.releases)
            except ReleaseError as e:
                return self._refuse(None, e)
            if name is None or name == self._seen:
                return False
            self._seen = name
            return self._swap(name, strict=True)

    def _swap(self, name: str, *, strict: bool) -> bool:
        with self._lock:
            self._missed = set()
        try:
            engine = self._built(open_release(self._project.releases / name, strict=strict))
            engine.warm()
            smoke(engine, self._scenario, strict=strict)
            self._prepare(engine)
            self._replace(engine)
        except Exception as e:  # whatever a release does wrong while it is tried, the live one answers on
            return self._refuse(name, e)
        finally:
            with self._lock:
                self._missed = None
        self._metrics.release_loads.labels("loaded").inc()
        self._metrics.live(name)
        log.info("release live", release=name)
        return True

    def _replace(self, engine: Engine) -> None:
        """Tells the new engine what changed while it was built, until nothing is left to tell; then it is the live one."""
        while True:
            with self._lock:
                missed, self._missed = self._missed, set()
                if not missed:
                    self.engine = engine
                    return
            engine.catalogue_changed(sorted(missed))

    def _built(self, release: Release | None) -> Engine:
        serving, directory = self._project.serving, self._project.directory
        return Engine(
            release,
            self._scenario,
            self._store,
            history=serving.history,
            text_encoder=serving.text_encoder,
            image_encoders=serving.image_encoders,
            encoders=serving.encoders,
            photos=directory / "photos",
            vectors=directory / "vectors",
        )

    def _refuse(self, name: str | None, cause: Exception) -> bool:
        self._metrics.release_loads.labels("failed").inc()
        log.error("release not loaded", release=name, error=type(cause).__name__, found=str(cause), still=self.release)
        return False

    def _fall_back(self) -> None:
        older = [manifest.id for manifest in reversed(list_releases(self._project.releases))]
        for name in dict.fromkeys([*([self._seen] if self._seen else []), *older]):
            if self._swap(name, strict=False):
                return

    def _watch(self) -> None:
        while not self._stop.wait(self._poll_s):
            try:
                self.look()
            except Exception:  # a file system that fails for a moment must not end the watching
                log.exception("watching releases")


def smoke(engine: Engine, scenario: Scenario, *, strict: bool = True) -> None:
    """Asks each placement once as a guest, so that a release that cannot answer is found before a shopper finds it.

    Raises:
        ReleaseError: a placement cannot answer, or with `strict` only by a simpler model than it should.
    """
    page = [engine.catalogue.items.id(int(code)) for code in engine.catalogue.newest(engine.catalogue.listed_I, 1)]
    for place in scenario.placements:
        answer = engine.recommend(Request(placement=place.name, items=page if place.about == "items" else [], k=1))
        if strict and answer.degraded:
            raise ReleaseError(f"placement {place.name!r} is answered by a simpler model than it should be", fix="daogou train", where=str(answer.release))
