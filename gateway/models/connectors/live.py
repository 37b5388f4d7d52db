"""LiveConnector: one wire language over the network, by the gateway's catalog of providers and its dialects."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

from gateway.connectors.azure import at_resource
from gateway.connectors.catalog import FAMILIES, normalise_base_url
from gateway.connectors.connector import Connector
from gateway.environment import read_variable
from gateway.languages import SERVICES
from gateway.models.connectors.clouds import (
    authorize_vertex,
    forget_vertex,
    missing_secret,
    place_bedrock,
    place_vertex,
    sign_bedrock,
)
from gateway.models.connectors.http import HttpRequest, HttpTransport
from gateway.models.connectors.issue import Prepared, issue
from gateway.models.contract.connector import CredentialResolver
from gateway.models.contract.conversation import Conversation
from gateway.models.contract.emission import Emission
from gateway.models.contract.errors import GatewayError, GatewayErrorKind
from gateway.models.contract.model_card import ApiKind, ModelCard
from gateway.models.contract.options import StreamOptions
from gateway.models.contract.reply import Reply
from gateway.models.conversion.request import card_quirks, family_of, guest_of, to_request
from gateway.models.credentials.secrets import SecretScheme, describe_secret
from gateway.models.streaming.channel import Channel, channel_of, collect_reply
from tee.errors import Malformed
from tee.origin import is_private_channel, parse_origin

_CHAT = SERVICES["/v1/chat/completions"]


@dataclass(frozen=True, slots=True)
class LiveConnector:
    """Speaks the language `api` to whichever provider a card names."""

    id: str
    api: ApiKind
    resolver: CredentialResolver
    transport: HttpTransport

    def stream(self, model: ModelCard, conversation: Conversation, options: StreamOptions) -> Channel:
        """The answer in pieces; each iteration finds the key and sends the request anew."""

        def ask() -> AsyncGenerator[Emission, None]:
            return issue(model, options.cancel, self.transport, lambda: self._prepare(model, conversation, options))

        return channel_of(ask)

    async def complete(self, model: ModelCard, conversation: Conversation, options: StreamOptions) -> Reply:
        """The answer whole. Raises: GatewayError."""
        return await collect_reply(self.stream(model, conversation, options))

    async def _prepare(self, card: ModelCard, conversation: Conversation, options: StreamOptions) -> Prepared:
        _check_address(card)
        secret = await self._find_secret(card, options)
        connector = place_card(card, secret or "")
        request = to_request(card, conversation, options, connector.dialect)
        side = _CHAT.provider(request, connector)
        body = side.encode_request(request, card_quirks(card))
        url = connector.base_url + side.path(request.model, request.stream)
        if secret is not None and not is_private_channel(url):
            words = f"{card.provider}: base_url is not private, wanted https:// or this machine: the key stays here"
            raise GatewayError(GatewayErrorKind.UNSUPPORTED, words, provider=card.provider)
        headers = {name: connector.api_version or value for name, value in side.headers}
        if secret is not None:
            headers |= await _authorize(connector, url, body, secret)
        if not all(value.isascii() and value.isprintable() for value in headers.values()):
            words = f"{card.provider}: the credential holds what no header can carry, wanted one line of plain ASCII"
            raise GatewayError(GatewayErrorKind.AUTH, words, provider=card.provider)
        sent = HttpRequest(url, headers, body, options.cancel)
        return Prepared(side, sent, forget_vertex) if connector.service_account else Prepared(side, sent)

    async def _find_secret(self, card: ModelCard, options: StreamOptions) -> str | None:
        """The secret of the card's provider; at a guest's host the guest's own, never another vendor's."""
        if (guest := guest_of(card)) is not None:
            return _guest_secret(FAMILIES[guest], card, options)
        secret = await self.resolver.resolve(card.provider, options.api_key)
        if secret is None and describe_secret(card.provider).scheme is not SecretScheme.NONE:
            raise missing_secret(card.provider)
        return secret


def _guest_secret(family: Connector, card: ModelCard, options: StreamOptions) -> str:
    values = ((options.api_key or "").strip(), *(read_variable(name) for name in family.credential_env))
    found = next((value for value in values if value), None)
    if found is None:
        words = f"no credential for {family.family}: set {' or '.join(family.credential_env)}, or give it as api_key"
        raise GatewayError(GatewayErrorKind.AUTH, words, provider=card.provider)
    return found


def _check_address(card: ModelCard) -> None:
    """Refuse a base_url that is none. Raises: GatewayError."""
    try:
        if card.base_url is not None:
            parse_origin(card.base_url)
    except Malformed as error:
        raise GatewayError(GatewayErrorKind.UNSUPPORTED, f"base_url: {error}", provider=card.provider) from None
    if "?" in (card.base_url or "") or "#" in (card.base_url or ""):
        words = "base_url: found a query or a fragment, wanted neither: paths follow it"
        raise GatewayError(GatewayErrorKind.UNSUPPORTED, words, provider=card.provider)


def place_card(card: ModelCard, secret: str) -> Connector:
    """Where the card's model is asked. Raises: GatewayError."""
    family = FAMILIES[family_of(card)]
    base_url = normalise_base_url(card.base_url or family.base_url, family.dialect)
    if family.aws_service is not None:
        return place_bedrock(family, base_url)
    if family.service_account:
        return place_vertex(family, base_url, secret)
    if family.azure:
        try:
            return at_resource(family, card.base_url or family.base_url, None, card.id)
        except Malformed as error:
            raise GatewayError(GatewayErrorKind.UNSUPPORTED, str(error), provider=card.provider) from None
    return replace(family, base_url=base_url)


async def _authorize(connector: Connector, url: str, body: bytes, secret: str) -> dict[str, str]:
    if connector.aws_service is not None:
        return sign_bedrock(connector, url, body, secret)
    if connector.service_account:
        return await authorize_vertex(connector, secret)
    return connector.credential_header(secret)
