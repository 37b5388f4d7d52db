"""The built-in drivers: rows over the dialects, and the HTTP by which they ask."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import httpx2

from gateway.config import Limits
from gateway.connectors.azure import at_resource
from gateway.connectors.catalog import EMBEDDINGS, FAMILIES, OPENAI_CHAT, check_region, normalise_base_url
from gateway.connectors.connector import Connector
from gateway.connectors.quirks_table import quirks_of
from gateway.dialects.dialect import ProviderSide
from gateway.engine.core.drivers import EmbeddingsResponse
from gateway.engine.core.errors import UpstreamRefused, error_of
from gateway.engine.core.pool import Endpoint, ProviderKind
from gateway.engine.core.requests import ProxyEmbeddingsRequest, embeddings_inference
from gateway.errors import NoRoute, UpstreamFailed
from gateway.inference import Embedding, Failure, InferenceRequest, Start, StreamEvent, Usage
from gateway.languages import SERVICES
from gateway.routing.retry import KEY_STATUSES, read_retry_after
from gateway.translate import refused_key
from gateway.upstream import Upstream, UpstreamAnswer
from tee.aws.sigv4 import AwsCredentials
from tee.errors import Malformed

# What is known of a server that only says that it speaks OpenAI's language.
_COMPATIBLE = Connector("", "openai-compatible", OPENAI_CHAT, "", needs_credential=False, also=frozenset({EMBEDDINGS}))
# Driver -> the row that serves an endpoint whose family has none of its own in that language.
_ROWS: dict[str, Connector] = {kind.value: FAMILIES.get(kind.value, _COMPATIBLE) for kind in ProviderKind}
_BY_LANGUAGE = {service.surface.name: service for service in SERVICES.values()}
_CHAT, _EMBEDDINGS = SERVICES["/v1/chat/completions"], SERVICES["/v1/embeddings"]


class HttpTransport:
    """The gateway's own HTTP to providers. One serves any number of drivers, within one event loop."""

    def __init__(self, inner: httpx2.AsyncBaseTransport | None = None, limits: Limits | None = None) -> None:
        """`inner`: any transport of httpx2 that carries the requests instead of ours, with its own trust in CAs."""
        self.limits = limits or Limits()
        self.upstream = Upstream(self.limits, stock=False, carrier=None if inner is None else _Carrier(inner))

    async def close(self) -> None:
        """Drop all connections."""
        await self.upstream.close()


class _Carrier(httpx2.AsyncBaseTransport):
    """A foreign transport. What it has read already, as transports for tests do, can be read once more."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = await self._inner.handle_async_request(request)
        if not answer.is_stream_consumed:
            return answer
        return httpx2.Response(answer.status_code, headers=answer.headers, stream=httpx2.ByteStream(answer.content))

    async def aclose(self) -> None:
        await self._inner.aclose()


@dataclass(frozen=True, slots=True)
class HttpDriver:
    """Asks over HTTP, in the language of its row; a family of the catalog brings its peculiarities along."""

    driver_id: str
    _row: Connector
    _transport: HttpTransport

    async def execute(self, endpoint: Endpoint, request: InferenceRequest) -> AsyncGenerator[StreamEvent, None]:
        """Ask, and decode what comes. Raises: GatewayError."""
        connector = self._connector(endpoint)
        side = _BY_LANGUAGE.get(request.dialect, _CHAT).provider(request, connector)
        body = side.encode_request(request, quirks_of(connector.family, request.model))
        answer = await self._post(endpoint, connector, side, request, body)
        try:
            if request.stream and answer.kind == side.stream_type:
                decoder = side.decoder(self._transport.limits.frame)
                while piece := await answer.next():
                    for event in decoder.push(piece):
                        yield event
                events = decoder.finish()
            else:
                events = side.decode_answer(await answer.read())
            for event in events:
                yield event
        finally:
            await answer.close()

    async def embed(self, endpoint: Endpoint, request: ProxyEmbeddingsRequest) -> EmbeddingsResponse:
        """Embed. Raises: GatewayError, NoRoute where this language has no embeddings."""
        connector = self._connector(endpoint)
        asked = embeddings_inference(request)
        _EMBEDDINGS.answer_here(asked, connector)
        side = _EMBEDDINGS.provider(asked, connector)
        body = side.encode_request(asked, quirks_of(connector.family, request.model))
        answer = await self._post(endpoint, connector, side, asked, body)
        try:
            events = side.decode_answer(await answer.read())
        finally:
            await answer.close()
        if failure := next((event for event in events if isinstance(event, Failure)), None):
            raise error_of(failure)
        vectors = [list(event.vector) for event in events if isinstance(event, Embedding)]
        if len(vectors) != len(request.input):
            raise UpstreamFailed(f"answer: found {len(vectors)} vectors, wanted {len(request.input)}")
        model = next((event.model for event in events if isinstance(event, Start)), "")
        usage = next((event for event in events if isinstance(event, Usage)), None)
        return EmbeddingsResponse(vectors, model or request.model, usage)

    def _connector(self, endpoint: Endpoint) -> Connector:
        """The endpoint as a row. Raises: NoRoute for one that its family knows no way to."""
        family = FAMILIES.get((endpoint.provider_family or "").casefold(), self._row)
        row = family if family.dialect == self._row.dialect else self._row
        row = replace(row, id=endpoint.endpoint_id, auth_header=endpoint.auth_header or row.auth_header)
        try:
            if row.azure:
                return at_resource(row, endpoint.base_url, endpoint.api_version, endpoint.endpoint_id)
            base_url = normalise_base_url(endpoint.base_url, row.dialect)
            version = endpoint.api_version or row.api_version
            if not isinstance(endpoint.api_key, AwsCredentials):
                return replace(row, base_url=base_url, api_version=version)
            named = (urlsplit(base_url).hostname or "").split(".")[1:2]  # bedrock-runtime.REGION.amazonaws.com
            region = check_region(row, named[0] if named else None, f"{endpoint.endpoint_id}.base_url")
        except Malformed as error:
            raise NoRoute(str(error), code="endpoint_malformed") from None
        return replace(row, base_url=base_url, api_version=version, region=region)

    async def _post(
        self, endpoint: Endpoint, connector: Connector, side: ProviderSide, request: InferenceRequest, body: bytes
    ) -> UpstreamAnswer:
        """The provider's answer, if it is one. Raises: GatewayError, UpstreamRefused for a refusal."""
        url = connector.base_url + side.path(request.model, request.stream)
        headers = {name: connector.api_version or value for name, value in side.headers}
        upstream = self._transport.upstream
        answer = await upstream.call(connector, url, body, _credential(endpoint, connector), headers)
        if 200 <= answer.status < 300:
            return answer
        try:
            failure = side.decode_error(await answer.read(), answer.status)
        finally:
            await answer.close()
        if answer.status in KEY_STATUSES or failure.status in KEY_STATUSES:
            raise refused_key()
        wait = read_retry_after(answer.retry_after, time.time())
        raise UpstreamRefused(failure, answer.status, retry_after=failure.retry_after if wait is None else wait)


def builtin_drivers(transport: HttpTransport) -> list[HttpDriver]:
    """One driver for each language that providers are asked in, among them `openai-compatible` and `anthropic`."""
    return [HttpDriver(driver_id, row, transport) for driver_id, row in _ROWS.items()]


def _credential(endpoint: Endpoint, connector: Connector) -> str | AwsCredentials | None:
    if isinstance(endpoint.api_key, AwsCredentials):
        return endpoint.api_key
    key = endpoint.api_key.expose_secret().strip()
    if connector.service_account:
        key = " ".join(key.splitlines())  # a key file of Google's, whose lines are mere layout
    if not key and connector.needs_credential:
        raise NoRoute(f"Endpoint {endpoint.endpoint_id} has no key.", code="no_credential")
    if not (key.isascii() and key.isprintable()):
        raise NoRoute(f"The key of endpoint {endpoint.endpoint_id} is not one line of ASCII.", code="no_credential")
    return key or None
