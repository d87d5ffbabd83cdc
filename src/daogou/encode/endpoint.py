"""Any server that speaks the embeddings call of the OpenAI interface, `POST {url}/embeddings`: a text encoder by configuration."""

import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import structlog

from daogou.breaker import Breaker
from daogou.contract import Mask, Scores
from daogou.encode.texts import encoded
from daogou.errors import ConfigError, DaogouError

log = structlog.get_logger("daogou.encode")

MOST_BYTES = 64_000_000  # of one answer
HANGING = 8
"""Questions under way at once, those that nobody waits for any more included: a server may take for ever to say nothing."""


class _Nowhere(urllib.request.HTTPRedirectHandler):
    """A redirection is an error: the key must not follow it to another server."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_Nowhere)


class Endpoint:
    """Texts go to the server in batches; its vectors are made unit length.

    Args:
        url: base address, such as ``http://localhost:8080/v1``.
        model: its name there. It is the version too: servers tell no hash of their weights.
        dim: length of its vectors.
        key_env: name of the environment variable that holds the key; "" = none is sent. The key itself is in no file of ours.
        batch: texts of one call.
        timeout_s: longest wait for one call.
        question_s: longest wait for a question, whatever the server does.

    Raises:
        ConfigError: the address is not http or https, or the key is not there.
    """

    id = "openai"
    kind = "text"
    weights = ""

    def __init__(self, url: str, model: str, dim: int, key_env: str = "", batch: int = 64, timeout_s: float = 30.0, question_s: float = 0.8) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ConfigError(f"{url!r} is no address", expected="http://HOST/v1 or https://HOST/v1", field="url")
        if key_env and not os.environ.get(key_env):
            raise ConfigError(f"the environment variable {key_env} is not set", expected="the key of the embeddings server in it", field="key_env")
        self.url, self.version, self.dim = url.rstrip("/") + "/embeddings", model, dim
        self._key, self._batch, self._timeout_s, self._question_s = os.environ.get(key_env, "") if key_env else "", batch, timeout_s, question_s
        self._breaker, self._hanging = Breaker(), threading.Semaphore(HANGING)

    def encode(self, things: Sequence[str | bytes]) -> tuple[Scores, Mask]:
        """
        Raises:
            DaogouError: the server is away, refuses, or answers something else than vectors of that length.
        """
        return encoded(things, self.dim, self._all)

    def question(self, things: Sequence[str | bytes]) -> tuple[Scores, Mask]:
        """As `encode`, while someone waits: within `question_s`.

        Raises:
            DaogouError: as `encode`; at once where the server failed several times in a row.
        """
        return encoded(things, self.dim, self._asked)

    def _asked(self, texts: list[str]) -> Scores:
        if not self._breaker.take():
            raise self._failed("it failed several times in a row and is left alone for a while")
        well = False
        try:
            vectors = self._in_time(texts)
            well = True
            return vectors
        except DaogouError as e:
            log.warning("embeddings server", found=e.found, where=self.url)
            raise
        finally:
            self._breaker.settle(well)

    def _in_time(self, texts: list[str]) -> Scores:
        """In a thread that may be left behind: the time-out of a socket is for each piece that comes, and there is no end to pieces."""
        if not self._hanging.acquire(blocking=False):
            raise self._failed(f"{HANGING} questions under way")
        out: SimpleQueue[Scores | DaogouError] = SimpleQueue()

        def work() -> None:
            try:
                out.put(self._ask(texts, self._question_s))
            except DaogouError as e:
                out.put(e)
            finally:
                self._hanging.release()

        threading.Thread(target=work, name="daogou-question", daemon=True).start()
        try:
            found = out.get(timeout=self._question_s)
        except Empty:
            raise self._failed(f"no answer within {self._question_s} s") from None
        if isinstance(found, DaogouError):
            raise found
        return found

    def _all(self, texts: list[str]) -> Scores:
        return np.concatenate([self._ask(texts[first : first + self._batch], self._timeout_s) for first in range(0, len(texts), self._batch)])

    def _ask(self, texts: list[str], timeout_s: float) -> Scores:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self._key}"} if self._key else {})
        body = json.dumps({"model": self.version, "input": texts}).encode()
        request = urllib.request.Request(self.url, data=body, headers=headers, method="POST")
        try:
            with _OPENER.open(request, timeout=timeout_s) as answer:
                rows = json.loads(answer.read(MOST_BYTES))["data"]
            ordered = sorted(rows, key=lambda row: row["index"])
            vectors = np.array([row["embedding"] for row in ordered], np.float32)
            indexes = [row["index"] for row in ordered]
        except urllib.error.HTTPError as e:
            with e:
                raise self._failed(f"HTTP {e.code}") from e
        except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
            raise self._failed(f"{type(e).__name__}: {str(e)[:200]}") from e
        if vectors.shape != (len(texts), self.dim) or indexes != list(range(len(texts))) or not np.isfinite(vectors).all():
            raise self._failed(f"vectors of shape {vectors.shape} or wrongly numbered", f"{len(texts)} finite vectors of length {self.dim}")
        return vectors

    def _failed(self, found: str, expected: str = "") -> DaogouError:
        return DaogouError(found, expected=expected, fix="check the embeddings server and its settings", where=self.url)
