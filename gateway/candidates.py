"""Candidates: the models that may answer one call, in order, and what each of them is asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from gateway.attempts import Asked, Target
from gateway.connectors.connector import Connector
from gateway.connectors.quirks_table import quirks_of
from gateway.errors import NoRoute
from gateway.inference import InferenceRequest
from gateway.languages import Service
from gateway.random_hex import random_hex
from gateway.routing.route import Route
from gateway.translate import Exchange
from tee.canonical import digest_bytes


@dataclass(frozen=True, slots=True)
class Question:
    """What a client asks: its `body`, read as `request`, and its `headers`. `token` and `created` as in Exchange."""

    service: Service
    request: InferenceRequest
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    token: str = field(default_factory=lambda: random_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))


class Candidates:
    """The routes of one call: the model that was asked for, then those that may stand in for it."""

    def __init__(
        self,
        routes: Sequence[Route],
        question: Question,
        base_url: Callable[[Connector], str],
        observe: Callable[[Route], Route],
        *,
        asked_for: str,
        clean: bool,
    ) -> None:
        """`base_url` may raise NoRoute for a provider that does not run here. `observe` gives a route as it is known
        once it has answered; `asked_for` is the id of the model that the client named, which the policy may have
        passed over; `clean` keeps the call off connections to whom TLS does not show as known.
        """
        self.routes = routes
        self.asked_for = asked_for
        self._question = question
        self._base_url = base_url
        self._observe = observe
        self._clean = clean
        self._prepared: dict[int, tuple[Exchange, Asked]] = {}
        self._hashes: dict[int, str] = {}

    def targets(self) -> list[Target]:
        """The plan."""
        return [
            Target(
                route.connector,
                route.model.upstream_model,
                partial(self.asked, at),
                alternative=route.model.id != self.asked_for,
                clean=self._clean,
            )
            for at, route in enumerate(self.routes)
        ]

    def observed(self, at: int) -> Route:
        """The route of one that has answered."""
        return self._observe(self.routes[at])

    def exchange(self, at: int) -> Exchange:
        """How its language and the client's meet. Raises GatewayError as `asked` does."""
        return self._prepare(at)[0]

    def asked(self, at: int) -> Asked:
        """What it is sent. Raises InvalidRequest, NoRoute for what it cannot be asked."""
        return self._prepare(at)[1]

    def body_hash(self, at: int) -> str:
        """The digest of what it is sent. Raises GatewayError as `asked` does."""
        if at not in self._hashes:
            self._hashes[at] = digest_bytes(self.asked(at).body)
        return self._hashes[at]

    def _prepare(self, at: int) -> tuple[Exchange, Asked]:
        if at not in self._prepared:
            self._prepared[at] = self._meet(self.routes[at])
        return self._prepared[at]

    def _meet(self, route: Route) -> tuple[Exchange, Asked]:
        asks, connector, model = self._question, route.connector, route.model.upstream_model
        if not asks.service.offers(connector):
            raise NoRoute(f"Provider {connector.id} does not offer {asks.service.surface.name}.", code="not_offered")
        provider = asks.service.provider(asks.request, connector)
        exchange = Exchange(asks.service.surface, provider, asks.request, asks.token, asks.created)
        url = self._base_url(connector) + provider.path(model, asks.request.stream)
        body = exchange.forward(asks.body, model, quirks_of(connector.family, model))
        return exchange, Asked(provider, url, body, exchange.headers(asks.headers, connector.api_version))
