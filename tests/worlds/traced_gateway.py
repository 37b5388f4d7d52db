"""`saferouter` on a host that has configured OpenTelemetry: its spans go, a line of JSON each, to spans.jsonl."""

from __future__ import annotations

import os
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

import tee.cli

if __name__ == "__main__":
    file = Path(os.environ["SAFEROUTER_STATE"]).with_name("spans.jsonl").open("a")
    provider = TracerProvider()
    exporter = ConsoleSpanExporter(out=file, formatter=lambda span: str(span.to_json(indent=None)) + "\n")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    tee.cli.main()
