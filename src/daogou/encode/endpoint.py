"""Any server that speaks the embeddings call of the OpenAI interface, `POST {url}/embeddings`: a text encoder by configuration."""

import json
import os
import urllib.request
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from daogou.contract import Mask, Scores
from daogou.encode.texts import encoded
from daogou.errors import ConfigError, DaogouError

MOST_BYTES = 64_000_000  # of one answer


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

    Raises:
        ConfigError: the address is not http or https, or the key is not there.
    """

    id = "openai"
    kind = "text"
    weights = ""

    def __init__(self, url: str, model: str, dim: int, key_env: str = "", batch: int = 64, timeout_s: float = 30.0) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ConfigError(f"{url!r} is no address", expected="http://HOST/v1 or https://HOST/v1", field="url")
        if key_env and not os.environ.get(key_env):
            raise ConfigError(f"the environment variable {key_env} is not set", expected="the key of the embeddings server in it", field="key_env")
        self.url, self.version, self.dim = url.rstrip("/") + "/embeddings", model, dim
        self._key, self._batch, self._timeout_s = os.environ.get(key_env, "") if key_env else "", batch, timeout_s

    def encode(self, things: Sequence[str | bytes]) -> tuple[Scores, Mask]:
        """
        Raises:
            DaogouError: the server is away, refuses, or answers something else than vectors of that length.
        """
        return encoded(things, self.dim, self._all)

    def _all(self, texts: list[str]) -> Scores:
        return np.concatenate([self._ask(texts[first : first + self._batch]) for first in range(0, len(texts), self._batch)])

    def _ask(self, texts: list[str]) -> Scores:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self._key}"} if self._key else {})
        body = json.dumps({"model": self.version, "input": texts}).encode()
        request = urllib.request.Request(self.url, data=body, headers=headers, method="POST")
        try:
            with _OPENER.open(request, timeout=self._timeout_s) as answer:
                rows = json.loads(answer.read(MOST_BYTES))["data"]
            ordered = sorted(rows, key=lambda row: row["index"])
            vectors = np.array([row["embedding"] for row in ordered], np.float32)
            indexes = [row["index"] for row in ordered]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
            raise self._failed(f"{type(e).__name__}: {str(e)[:200]}") from e
        if vectors.shape != (len(texts), self.dim) or indexes != list(range(len(texts))) or not np.isfinite(vectors).all():
            raise self._failed(f"vectors of shape {vectors.shape} or wrongly numbered", f"{len(texts)} finite vectors of length {self.dim}")
        return vectors

    def _failed(self, found: str, expected: str = "") -> DaogouError:
        return DaogouError(found, expected=expected, fix="check the embeddings server and its settings", where=self.url)
