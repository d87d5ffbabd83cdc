"""Keys of a server that runs, over its own API: while it runs no other process writes to its store."""

import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from daogou.errors import DaogouError, UsageError
from daogou.serve.keys import KeyEntry, NewKey
from daogou.serve.wire import Problem

T = TypeVar("T")
MOST_BYTES = 1_000_000
TIMEOUT_S = 10.0
KEY_ENV = "DAOGOU_KEY"
"""Environment variable of the admin key: one that stands in a command line is seen by everyone on the machine."""


class _Nowhere(urllib.request.HTTPRedirectHandler):
    """A redirection is an error: the key must not follow it to another server."""

    def redirect_request(self, *_: Any) -> None:
        return None


class RunningKeys:
    """What `keys` does, asked of a server.

    Args:
        server: its address, such as ``http://127.0.0.1:8642``.
        token: an admin key.

    Raises:
        UsageError: the address is not http or https, or the key cannot be one.
    """

    def __init__(self, server: str, token: str) -> None:
        address = urlsplit(server)
        if address.scheme not in ("http", "https") or not address.hostname or address.query or address.fragment:
            raise UsageError(f"server {server!r}", expected="http://HOST:PORT or https://HOST", field="server")
        if not (token.isascii() and token.isprintable()):
            raise UsageError("a key that cannot be", expected=f"an admin key in {KEY_ENV}", field=KEY_ENV)
        self._url, self._token = server.rstrip("/") + "/v1/keys", token
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Nowhere)

    def listing(self) -> list[KeyEntry]:
        """The keys in force, oldest first."""
        return self._ask("GET", "", list[KeyEntry])

    def create(self, kind: str, *, scopes: Sequence[str] = (), origins: Sequence[str] = ()) -> NewKey:
        """Makes a key; its token is in this answer alone."""
        return self._ask("POST", "", NewKey, {"kind": kind, "scopes": list(scopes), "origins": list(origins)})

    def revoke(self, key_id: str) -> None:
        """Ends a key at once."""
        self._ask("DELETE", "/" + quote(key_id, safe=""), dict)

    def _ask(self, method: str, path: str, kind: type[T], body: object = None) -> T:
        """
        Raises:
            DaogouError: the server is away, refuses, or answers something else.
        """
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self._token}"} if self._token else {})
        request = urllib.request.Request(self._url + path, msgspec.json.encode(body) if body is not None else None, headers, method=method)
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                return msgspec.json.decode(answer.read(MOST_BYTES), type=kind)
        except urllib.error.HTTPError as e:
            with e:
                raise self._refused(e) from e
        except (OSError, HTTPException, ValueError, msgspec.DecodeError) as e:
            raise DaogouError(f"no answer ({e})", expected="a running daogou server", fix="check the address after --server", where=self._url) from e

    def _refused(self, error: urllib.error.HTTPError) -> DaogouError:
        try:
            problem = msgspec.json.decode(error.read(MOST_BYTES), type=Problem)
        except (OSError, HTTPException, ValueError, msgspec.DecodeError):
            problem = Problem(status_code=error.code, detail=f"HTTP {error.code}")
        flaw = problem.extra[0] if problem.extra else None
        fix = f"put an admin key into {KEY_ENV}" if error.code in (401, 403) else flaw.fix if flaw else ""
        kind = UsageError if error.code in (400, 404) else DaogouError
        return kind(flaw.found if flaw else problem.detail, expected=flaw.expected if flaw else "", fix=fix, where=self._url)
