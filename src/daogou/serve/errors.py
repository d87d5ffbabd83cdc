"""Errors as answers: one body for all of them, `{status_code, detail, extra: [{field, found, expected, fix}]}`.

| raised | answered |
|---|---|
| UsageError, UnknownName, FilterError, DataError | 400 |
| NotFound: what the path names does not exist | 404 |
| Refused | 401, 403 |
| Overloaded | 503 with Retry-After; 429 where one address asks too often |
| StoreError, StoreBusy, StoreLocked, ReleaseError, a failed read of the database | 503 with Retry-After |
| anything else | 500, the cause in the log and not in the answer |
"""

from collections.abc import Sequence
from math import ceil
from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, InternalServerException, NotFoundException, ValidationException
from litestar.types import ExceptionHandlersMap
from sqlalchemy.exc import DBAPIError

from daogou.errors import DaogouError, DataError, ReleaseError, StoreBusy, StoreError, UsageError
from daogou.serve.wire import Flaw, Problem

log = structlog.get_logger("daogou.serve")

LONGEST = 300  # characters of one text in an answer: names may be many


class BadRequest(UsageError):
    """A request with one or more flaws, each named."""

    status_code = 400

    def __init__(self, detail: str, flaws: Sequence[Flaw]) -> None:
        self.detail, self.flaws = detail, list(flaws)
        first = self.flaws[0] if self.flaws else Flaw(field="", found=detail)
        super().__init__(first.found, expected=first.expected, fix=first.fix, field=first.field)


class NotFound(BadRequest):
    """What the path names does not exist."""

    status_code = 404

    def __init__(self, kind: str, field: str, found: str, *, fix: str = "") -> None:
        super().__init__(f"there is no such {kind}", [Flaw(field=field, found=cut(found), expected=f"an existing {kind}", fix=fix)])


class Overloaded(DaogouError):
    """More requests than can be answered in time; this one was not begun."""

    def __init__(self, found: str, *, retry_after_s: float = 1.0, status_code: int = 503) -> None:
        self.retry_after_s, self.status_code = retry_after_s, status_code
        super().__init__(found, fix="try again later")


class Refused(DaogouError):
    """No key (401), or one that may not do this (403)."""

    def __init__(self, status_code: int, found: str, *, expected: str, fix: str) -> None:
        self.status_code = status_code
        super().__init__(found, expected=expected, fix=fix, field="Authorization")


def cut(text: str) -> str:
    """`text`, shortened to what an answer should carry."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def answer(status_code: int, detail: str, flaws: Sequence[Flaw] = (), retry_after_s: float | None = None) -> Response[Problem]:
    """The response for one problem."""
    headers = {} if retry_after_s is None else {"Retry-After": str(max(1, ceil(retry_after_s)))}
    if status_code == 401:
        headers["WWW-Authenticate"] = "Bearer"
    problem = Problem(status_code=status_code, detail=cut(detail), extra=list(flaws))
    return Response(problem, status_code=status_code, headers=headers, media_type="application/json")


def usage_flaw(error: DaogouError) -> Flaw:
    """The small manual that an error is, as part of an answer. The store counts rows of its own batch (``[0].value``), which is left out."""
    return Flaw(field=error.field.removeprefix("[0]").removeprefix("."), found=cut(error.found), expected=cut(error.expected), fix=cut(error.fix))


def on_daogou(request: Request[Any, Any, Any], error: DaogouError) -> Response[Problem]:
    """Maps the tree of errors.py."""
    if isinstance(error, BadRequest):
        return answer(error.status_code, error.detail, error.flaws)
    if isinstance(error, Refused):
        return answer(error.status_code, error.found, [usage_flaw(error)])
    if isinstance(error, Overloaded):
        return answer(error.status_code, error.found, [usage_flaw(error)], error.retry_after_s)
    if isinstance(error, UsageError | DataError):
        return answer(400, error.found, [usage_flaw(error)])
    if isinstance(error, StoreError | ReleaseError):
        return on_away(request, error)
    return on_unknown(request, error)


def on_away(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """The store or the release cannot answer now. What they say may name files and persons: the log has the kind, the caller needs neither."""
    log.error("unavailable", path=request.scope.get("path_template"), error=type(error).__name__, found=error.found if isinstance(error, DaogouError) else "")
    retry_after_s = error.retry_after_s if isinstance(error, StoreBusy) else 1.0
    return answer(503, "the store or the release cannot answer now; nothing was half-written", [], retry_after_s)


def on_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    """Maps what the framework refuses: unknown paths, methods, parameters, bodies too large."""
    flaws: list[Flaw] = []
    detail = error.detail or type(error).__name__
    if isinstance(error, InternalServerException) and "disconnected" in detail:
        return answer(400, "the body ended before its end")  # nobody reads this, and it is no defect of ours
    if isinstance(error, ValidationException):
        detail = "a parameter is wrong"
        flaws = [_parameter_flaw(request, extra) for extra in error.extra or [] if isinstance(extra, dict)] or [_missing(error.detail)]
    elif error.status_code == 404:
        detail = "no such path; /v1/openapi.json lists those that exist"
    elif error.status_code == 413:
        flaws = [Flaw(field="body", found="too many bytes", expected="at most max_body_bytes of [serving]", fix="send fewer rows, or use :import")]
    elif error.status_code >= 500:
        return on_unknown(request, error)
    problem = answer(error.status_code, detail, flaws)
    for name, value in (error.headers or {}).items():
        problem.set_header(name, value)
    return problem


def _missing(detail: str) -> Flaw:
    """From the framework's ``Missing required query parameter 'q' for path …``."""
    return Flaw(field=detail.split("'")[1] if "'" in detail else "", found="nothing", expected="a value: the parameter is required")


def _parameter_flaw(request: Request[Any, Any, Any], extra: dict[str, Any]) -> Flaw:
    name = str(extra.get("key", ""))
    if name == "data":
        return Flaw(field="body", found="nothing", expected="a JSON text in UTF-8")
    given = request.query_params.getall(name, []) or request.path_params.get(name, "nothing")
    found = ", ".join(given) if isinstance(given, list) else str(given)
    return Flaw(field=name, found=cut(found), expected=str(extra.get("message", "")).removeprefix("Expected "))


def on_unknown(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """A defect: logged with its traceback, answered without it."""
    log.error("internal error", path=request.scope.get("path_template"), exc_info=error)
    return answer(500, "an internal error; the server's log has its cause under this X-Request-Id")


HANDLERS: ExceptionHandlersMap = {DaogouError: on_daogou, DBAPIError: on_away, HTTPException: on_http, Exception: on_unknown, NotFoundException: on_http}
