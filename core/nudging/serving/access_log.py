"""The access log: one line of JSON per request, and the request id in the other logs."""

import json
import logging
import sys
from datetime import datetime, timezone

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nudging.serving.errors import ApiError
from nudging.serving.metrics import Metrics
from nudging.serving.record import RequestRecord, current_record, request_id

log = logging.getLogger("nudging.access")


class RequestRecorder:
    """ASGI middleware that gives each request an id and a record, and reports it to the log and the metrics.

    An unexpected error is answered with a 500 in OpenAI's shape here, so that it has the request id.

    Args:
        app: The application.
        metrics: The metrics.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = RequestRecord(scope, request_id(Headers(scope=scope).get("x-request-id")))
        current_record.set(record)  # not reset: the server logs an unexpected error after this returns

        async def send_recorded(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                own = (b"x-request-id", record.id.encode())
                message = {**message, "headers": [*message.get("headers", ()), own]}
            await send(message)
            if message["type"] == "http.response.body":
                record.is_complete = not message.get("more_body", False)

        try:
            await self._app(scope, receive, send_recorded)
        except Exception:
            if record.status is None:
                text = f"an internal error: the server's log has its traceback, at request {record.id}"
                error = ApiError(500, text, kind="server_error", code="internal_error")
                await error.response()(scope, receive, send_recorded)
            raise
        finally:
            self._metrics.record_response(record)
            if log.isEnabledFor(logging.INFO):
                time = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
                log.info(json.dumps({"time": time, **record.fields()}))


class RequestIdFilter(logging.Filter):
    """A filter that adds `request_id` to log records: the id of the request that caused them, else "-"."""

    def filter(self, record: logging.LogRecord) -> bool:
        request = current_record.get()
        record.request_id = request.id if request else "-"
        return True


def write_logs(*, access: bool) -> None:
    """Write the access log to stdout, and the warnings of this package and of uvicorn to stderr.

    Args:
        access: False if there is no access log.
    """
    if access:
        _write(log, logging.StreamHandler(sys.stdout), "%(message)s", logging.INFO)
    log.propagate = False
    for name in ("nudging", "uvicorn.error"):
        handler = logging.StreamHandler()
        handler.addFilter(RequestIdFilter())
        _write(logging.getLogger(name), handler, "%(levelname)s %(request_id)s %(message)s", logging.WARNING)


def _write(logger: logging.Logger, handler: logging.Handler, form: str, level: int) -> None:
    handler.setFormatter(logging.Formatter(form))
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
