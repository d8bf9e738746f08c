"""The log of our packages in the run log of Prefect, so that a weekly run can be followed while it runs.

The libraries know no Prefect and log by the standard library. Here its handler is attached to their loggers. Prefect
can do this by a setting (`PREFECT_LOGGING_EXTRA_LOGGERS`), but reads that before a deployment's code is imported, and
warns at each line that is logged outside of a run.
"""

from __future__ import annotations

import logging

from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging.handlers import APILogHandler

PACKAGES = ("flows", "tasks", "patentdata", "model")


class RunLogHandler(APILogHandler):
    """Sends records to the run that they were logged in; outside of a run, it lets them pass."""

    def handle(self, record: logging.LogRecord) -> bool:
        if FlowRunContext.get() is None and TaskRunContext.get() is None:
            return False
        return super().handle(record)


def log_to_runs() -> None:
    """Attach the handler to the loggers of our packages, once, and let decisions through, which are logged at INFO."""
    for package in PACKAGES:
        logger = logging.getLogger(package)
        if not any(isinstance(handler, RunLogHandler) for handler in logger.handlers):
            logger.addHandler(RunLogHandler())
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)
