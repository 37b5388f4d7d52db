"""`GET /metrics`: the counts as Prometheus reads them, for this machine and for who holds the metrics token."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import Forbidden
from gateway.tally import Family, Tally

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

PATH = "/metrics"
MAX_TOKEN = 4096
# Headers of who was sent by somebody else: through a proxy on this machine, or by a page in a browser on it.
_SENT_BY_OTHERS = ("forwarded", "x-forwarded-for", "x-real-ip", "via", "origin")
Gauges = Mapping[str, tuple[str, Callable[[], float]]]


def require_reader(request: Request, token_file: Path | None) -> None:
    """Refuse whoever may not read the counts: where a token is configured, whoever has not sent it; else whoever is
    not on this machine. Raises Forbidden.
    """
    if not (_is_local(request) if token_file is None else _has_token(request, token_file)):
        words = "/metrics is for this machine, or for `Authorization: Bearer` with the token of metrics_token_file."
        raise Forbidden(words, code="metrics_forbidden")


def _is_local(request: Request) -> bool:
    if request.client is None or any(name in request.headers for name in _SENT_BY_OTHERS):
        return False
    try:
        address = ipaddress.ip_address(request.client.host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _has_token(request: Request, token_file: Path) -> bool:
    """Whether the file's token was sent: read each time, so that it can be changed. An empty one opens nothing."""
    scheme, _, sent = request.headers.get("authorization", "").partition(" ")
    try:
        with token_file.open("rb") as file:
            wanted = file.read(MAX_TOKEN + 1).strip()
    except OSError:
        return False
    right = hmac.compare_digest(sent.strip().encode(), wanted)
    return scheme.lower() == "bearer" and 0 < len(wanted) <= MAX_TOKEN and right


class MetricsEndpoint:
    """The counts of all processes, and how full the gateway is now."""

    def __init__(self, tally: Tally, gauges: Gauges, require: Callable[[Request], None]) -> None:
        """`require` refuses whoever may not read."""
        self._tally = tally
        self._gauges = gauges
        self._require = require

    async def text(self, request: Request) -> Response:
        """Everything. Raises Forbidden."""
        self._require(request)
        # Here, so that a gateway which nobody scrapes does not carry it.
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
        from prometheus_client.registry import CollectorRegistry

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return Response(generate_latest(registry), 200, {"cache-control": "no-store"}, CONTENT_TYPE_LATEST)

    def describe(self) -> list[Metric]:
        """Nothing beforehand: names are unique by construction."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every family, in the library's own values."""
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        for name, (words, read) in self._gauges.items():
            yield GaugeMetricFamily(name, words, value=read())
        for family in self._tally.families.values():
            made = (HistogramMetricFamily if family.bounds else CounterMetricFamily)(
                family.name, family.words, labels=family.labels
            )
            for labels, values in self._tally.rows(family):
                if isinstance(made, HistogramMetricFamily):
                    made.add_metric(labels, buckets=_buckets(family, values), sum_value=values[-1])
                else:
                    made.add_metric(labels, values[0])
            yield made


def _buckets(family: Family, values: list[float]) -> list[tuple[str, float]]:
    """Counts up to each bound, as Prometheus wants them: every one holds those before it."""
    names = [*(f"{bound:g}" for bound in family.bounds), "+Inf"]
    return list(zip(names, accumulate(values[:-1]), strict=True))
