"""Logs: one JSON object a line on standard error, with the request's id. Nothing at level info or above names a person."""

import logging
import sys
from typing import Any

import msgspec
import structlog


def configure(level: str = "info") -> None:
    """Sets up structlog for a serving process, and has the standard library's loggers (uvicorn's) write the same lines."""
    number = logging.getLevelNamesMapping()[level.upper()]
    ready: list[Any] = [structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)]
    written: list[Any] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_json)]
    structlog.configure(
        processors=[*ready, *written],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *written], foreign_pre_chain=ready)
    )
    logging.basicConfig(level=number, handlers=[handler], force=True)


def _json(event: Any, **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()
