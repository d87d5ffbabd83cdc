"""A chat model behind the OpenAI interface, `POST {url}/chat/completions`: asked under a deadline, and trusted with nothing.

Whatever goes wrong is no error here but no answer: it is counted by its reason, and the rules speak. After some failures in a row nobody is asked
for a while; then one call tries whether it is back.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from daogou.breaker import Breaker
from daogou.errors import ConfigError, MissingExtra
from daogou.scenario import LanguageModel as Settings

if TYPE_CHECKING:
    import httpx

Told = TypeVar("Told", bound=msgspec.Struct)
MOST_BYTES = 256_000
"""Of one answer."""
AT_ONCE = 16
"""Calls under way; one more is not made."""
LEAST_S = 0.05
"""Time below which a call is not begun."""
Count = Callable[[str, str], None]
"""What for (`read`, `phrase`), and what came of it: `used`, or why not."""


class _Message(msgspec.Struct):
    content: str


class _Choice(msgspec.Struct):
    message: _Message


class _Completion(msgspec.Struct):
    choices: list[_Choice]


class _Failed(Exception):
    """A call that brought no answer, by reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class LanguageModel:
    """One endpoint. Belongs to the event loop of its first call.

    Args:
        settings: of the project.
        count: told of each outcome.

    Raises:
        ConfigError: the address is not http or https, or the key is not there.
        MissingExtra: httpx is not installed.
    """

    def __init__(self, settings: Settings, *, count: Count = lambda use, outcome: None, breaker: Breaker | None = None) -> None:
        address = urlsplit(settings.url)
        if address.scheme not in ("http", "https") or not address.hostname or address.username or address.query or address.fragment:
            raise ConfigError(f"{settings.url!r} is no address", expected="http://HOST/v1 or https://HOST/v1", field="language_model.url")
        key = os.environ.get(settings.key_env, "").strip() if settings.key_env else ""
        if settings.key_env and not (key.isascii() and key.isprintable() and key):
            expected = "the key of the language model's server in it"
            raise ConfigError(f"the environment variable {settings.key_env} holds no key", expected=expected, field="language_model.key_env")
        if find_spec("httpx") is None:
            raise MissingExtra("httpx, which asks the language model,", "llm")
        self.settings, self.count, self._key = settings, count, key
        self._url = settings.url.rstrip("/") + "/chat/completions"
        self._breaker, self._under_way = breaker or Breaker(), 0
        self._client = self._made()  # now, for it takes a while: certificates are read

    async def ask(self, use: str, system: str, given: Mapping[str, Any], schema: Mapping[str, Any], deadline: float) -> str | None:
        """What it says to `given`, as text that should be JSON of `schema`; None where nothing came in time.

        Args:
            use: for the counter.
            system: our instructions; `given` is data, and goes into a message of its own.
            deadline: of `time.monotonic`, seconds.
        """
        if deadline - time.monotonic() < LEAST_S:
            return self.count(use, "late")
        if self._under_way >= AT_ONCE:
            return self.count(use, "busy")
        if not self._breaker.take():
            return self.count(use, "resting")
        self._under_way += 1
        well: bool | None = None
        try:
            said = await self._call(self._body(system, given, schema), deadline)
            well = True
            return said
        except _Failed as e:
            well = False
            return self.count(use, e.reason)
        finally:
            self._under_way -= 1
            self._breaker.settle(well)

    async def told(self, use: str, system: str, given: Mapping[str, Any], schema: Mapping[str, Any], kind: type[Told], deadline: float) -> Told | None:
        """What it says, as `kind`; None where nothing came in time or it was something else."""
        said = await self.ask(use, system, given, schema, deadline)
        if said is None:
            return None
        found = _loads(said, kind)
        return self.count(use, "schema") if found is None else found

    async def close(self) -> None:
        """Ends the connections; nothing is asked afterwards."""
        await self._client.aclose()

    def _body(self, system: str, given: Mapping[str, Any], schema: Mapping[str, Any]) -> bytes:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": json.dumps(given, ensure_ascii=False)}]
        body: dict[str, Any] = {**self.settings.options, "model": self.settings.model, "messages": messages, "stream": False}
        if self.settings.json_schema:
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
        return json.dumps(body).encode()

    async def _call(self, body: bytes, deadline: float) -> str:
        import httpx

        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return _content(await self._read(body))
        except _Failed:
            raise
        except TimeoutError as e:
            raise _Failed("slow") from e
        except httpx.ConnectError as e:
            raise _Failed("away") from e
        except Exception as e:  # whatever a server does to its client: the rules answer
            raise _Failed("broken off") from e

    async def _read(self, body: bytes) -> bytes:
        async with self._client.stream("POST", self._url, content=body) as answer:
            if answer.status_code != 200:
                raise _Failed("status")
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise _Failed("encoded")  # we asked for none; what it unpacks to has no bound
            raw = bytearray()
            async for part in answer.aiter_raw():
                raw += part
                if len(raw) > MOST_BYTES:
                    raise _Failed("large")
            return bytes(raw)

    def _made(self) -> "httpx.AsyncClient":
        import httpx

        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE, keepalive_expiry=30)
        # The deadline of a call is for all of it, where time-outs of the client would be for each piece. A redirection would take the key elsewhere;
        # proxies and passwords of the environment are not what the project file says.
        return httpx.AsyncClient(headers=headers, timeout=None, limits=limits, follow_redirects=False, trust_env=False)


def _content(raw: bytes) -> str:
    try:
        choices = msgspec.json.decode(raw, type=_Completion).choices
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise _Failed("no completion") from e
    if not choices:
        raise _Failed("no completion")
    return choices[0].message.content


def _loads(said: str, kind: type[Told]) -> Told | None:
    """The JSON object in what was said, as `kind`; None where there is none. Words or fences around it do no harm: what counts is checked."""
    try:
        return msgspec.json.decode(said[said.find("{") : said.rfind("}") + 1].encode(), type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
