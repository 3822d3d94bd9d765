"""A span of OpenTelemetry for each request that is answered, where one is asked for.

`OTEL_TRACES_EXPORTER` names what takes them, as OpenTelemetry has it; without it nothing of
OpenTelemetry is imported. The SDK's other variables mean what its documentation says.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from penstock.errors import InputError
from penstock.serving.asgi import Receive, Scope, Send

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

    from penstock.serving.server import Application

EXPORTER = "OTEL_TRACES_EXPORTER"

_NONE = ("", "none")
_ALSO = {"otlp": "otlp_proto_http"}
"""What a name means that more than one package of exporters could answer to."""
_CARRIED = ("traceparent", "tracestate")
_UNWATCHED = ("/metrics", "/v2/health/live", "/v2/health/ready", "/ping", "/health", "/")
"""Paths that machines ask every few seconds."""


def traced(
    application: Application,
    *,
    name: str,
    version: str,
    environment: Mapping[str, str] = os.environ,
) -> Application:
    """Return the application; one that makes spans where `OTEL_TRACES_EXPORTER` names an exporter.

    Args:
        application: What answers.
        name: The model's name, which is the service's unless OTEL_SERVICE_NAME says another.
        version: The model's version.
        environment: The environment variables.

    Raises:
        InputError: If the exporter is not installed.
        MissingLibraryError: If the SDK is not: the extra `tracing` brings it.
    """
    exporter = environment.get(EXPORTER, "").strip().lower()
    if exporter in _NONE:
        return application
    named = bool(environment.get("OTEL_SERVICE_NAME"))
    provider = _provider(exporter, {} if named else {"service.name": name})
    return _Traced(application, provider, {"penstock.model": name, "penstock.version": version})


class _Traced:
    """Answers as the application does, within a span.

    Args:
        application: What answers.
        provider: Makes spans, and hands them on.
        attributes: Of every span.
    """

    def __init__(
        self, application: Application, provider: TracerProvider, attributes: Mapping[str, str]
    ) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._application = application
        self._provider = provider
        self._tracer = provider.get_tracer("penstock.serving")
        self._propagator = TraceContextTextMapPropagator()
        self._attributes = attributes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection's event stream, as ASGI has it."""
        if scope["type"] != "http" or scope["path"] in _UNWATCHED:
            await self._application(scope, receive, send)
            return
        span = self._begin(scope)

        async def sent(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *self._headers(span)]}
                _note_status(span, message["status"])
            await send(message)

        try:
            await self._application(scope, receive, sent)
        except BaseException as error:
            span.set_attribute("error.type", type(error).__name__)
            raise
        finally:
            span.end()

    def drain(self) -> None:
        """Ask clients to leave, and hand on what spans there are."""
        self._application.drain()
        # The SDK keeps to no timeout here, and answers that are under way wait for no collector.
        threading.Thread(target=self._provider.force_flush, name="flush-spans", daemon=True).start()

    def _begin(self, scope: Scope) -> Span:
        from opentelemetry.trace import SpanKind

        carried = {
            key.decode("latin-1"): value.decode("latin-1")
            for key, value in scope["headers"]
            if key.decode("latin-1") in _CARRIED
        }
        method, path = scope["method"], scope["path"]
        return self._tracer.start_span(
            f"{method} {path}",
            context=self._propagator.extract(carried),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "url.path": path, **self._attributes},
        )

    def _headers(self, span: Span) -> Iterable[tuple[bytes, bytes]]:
        """Return what tells the client the span that answered it."""
        from opentelemetry.trace import set_span_in_context

        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, context=set_span_in_context(span))
        return [(key.encode(), value.encode()) for key, value in carrier.items()]


def _note_status(span: Span, status: int) -> None:
    from opentelemetry.trace import StatusCode

    span.set_attribute("http.response.status_code", status)
    # A refusal is the client's error, by OpenTelemetry's conventions too.
    if status >= 500:
        span.set_status(StatusCode.ERROR)


def _provider(exporter: str, attributes: Mapping[str, str]) -> TracerProvider:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    name = _ALSO.get(exporter, exporter)
    found = {one.name: one for one in entry_points(group="opentelemetry_traces_exporter")}
    if name not in found:
        raise InputError(
            f"no exporter of that name is installed; there are {', '.join(sorted(found))}",
            where=f"{EXPORTER}={exporter}",
            remedy="For OTLP over HTTP: pip install opentelemetry-exporter-otlp-proto-http",
        )
    provider = TracerProvider(resource=Resource.create(dict(attributes)))
    # It holds 2,048 spans at most, and drops what comes beside: answers wait for no collector.
    provider.add_span_processor(BatchSpanProcessor(found[name].load()()))
    return provider
