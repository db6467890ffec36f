"""Where the words of a server process go: its standard error, one line an event."""

from __future__ import annotations

import logging
import sys

import structlog

__all__ = ["log_to_stderr"]


def log_to_stderr() -> None:
    """Send all events to the standard error.

    Through the standard library's handlers, since these survive a closed pipe: a thread that reports a failure must not
    end because nobody reads the report.
    """
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    logging.getLogger("alluxio_lance").setLevel(logging.INFO)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.TimeStamper(fmt="iso"),
            # Not rich's tracebacks: they show the variables of each frame, with the user's rows and passwords.
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
