"""The engine that answers now, and how another takes its place without a request noticing.

`CURRENT` is looked at once a second. A new release is loaded beside the live one, its digests are checked, a few questions are asked; then one
reference is replaced. A release that fails any of it is logged, counted and left alone: the live one goes on. At the start, when none is live yet,
a damaged release is better than nothing: what can be loaded of it answers, else an older one, else the newest items.
"""

import threading

import structlog

from daogou.engine import Engine, Request
from daogou.errors import DaogouError, ReleaseError
from daogou.release import Release, current_id, list_releases, open_release
from daogou.scenario import Project, Scenario
from daogou.serve.metrics import Metrics
from daogou.store import Store

log = structlog.get_logger("daogou.serve")


class Live:
    """Holds the live engine. A request reads `engine` once and keeps what it read.

    Args:
        poll_s: how often CURRENT is looked at.
    """

    def __init__(self, project: Project, scenario: Scenario, store: Store, metrics: Metrics, *, poll_s: float = 1.0) -> None:
        self._releases, self._scenario, self._store, self._metrics, self._poll_s = project.releases, scenario, store, metrics, poll_s
        self._seen: str | None = None
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="daogou-live", daemon=True)
        self.engine = Engine(None, scenario, store)
        self.release: str | None = None
        self._metrics.live(None)

    def start(self) -> None:
        """Makes what is published live, as much of it as can be, and begins to watch."""
        if not self.look():
            self._fall_back()
        self._watcher.start()

    def close(self) -> None:
        self._stop.set()
        if self._watcher.is_alive():
            self._watcher.join()

    def look(self) -> bool:
        """Loads the release that CURRENT names if it is not the one seen last; whether the engine was replaced."""
        try:
            name = current_id(self._releases)
            if name is None or name == self._seen:
                return False
            self._seen = name
            release = open_release(self._releases / name)
        except ReleaseError as e:
            return self._refuse(self._seen, e)
        return self._swap(release)

    def _swap(self, release: Release) -> bool:
        try:
            engine = Engine(release, self._scenario, self._store)
            smoke(engine, self._scenario)
        except Exception as e:  # whatever a release does wrong while it is tried, the live one answers on
            return self._refuse(release.id, e)
        self.engine, self.release = engine, release.id
        self._metrics.release_loads.labels("loaded").inc()
        self._metrics.live(release.id)
        log.info("release live", release=release.id, damaged=sorted(release.damaged))
        return True

    def _refuse(self, name: str | None, cause: Exception) -> bool:
        self._metrics.release_loads.labels("failed").inc()
        log.error("release not loaded", release=name, error=type(cause).__name__, found=str(cause), still=self.release)
        return False

    def _fall_back(self) -> None:
        older = [manifest.id for manifest in reversed(list_releases(self._releases))]
        for name in [*([self._seen] if self._seen else []), *older]:
            try:
                if self._swap(open_release(self._releases / name, strict=False)):
                    return
            except ReleaseError as e:
                self._refuse(name, e)

    def _watch(self) -> None:
        while not self._stop.wait(self._poll_s):
            try:
                self.look()
            except Exception:  # a file system that fails for a moment must not end the watching
                log.exception("watching releases")


def smoke(engine: Engine, scenario: Scenario) -> None:
    """Asks each placement once as a guest, so that a release that cannot answer is found before a shopper finds it.

    Raises:
        ReleaseError: a placement answers by a simpler model than it should.
    """
    for place in scenario.placements:
        try:
            engine.recommend(Request(placement=place.name, k=1))
        except DaogouError as e:
            raise ReleaseError(f"placement {place.name!r} cannot answer: {e}", fix="daogou train") from e
