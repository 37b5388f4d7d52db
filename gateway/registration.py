"""Registering providers at run time: each change is attested and logged before a call is routed by it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from gateway.config import Config, decode_config
from gateway.connectors.registered import MAX_PROVIDERS, Provider, with_registered, without_registered
from gateway.errors import Conflict, UnknownProvider
from gateway.instance import Instance
from gateway.provider_file import read_providers, write_providers
from gateway.reload import reload
from gateway.routing.route import ModelTable


class Registration:
    """The registered providers of a running gateway. Those of its configuration are changed there."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._changing = asyncio.Lock()  # what one change reads, another must not have changed meanwhile

    @property
    def models(self) -> ModelTable:
        """Who is asked for what now."""
        return self._instance.config.models

    def providers(self) -> list[Provider]:
        """What is registered. Raises Malformed."""
        return read_providers(self._instance.config.state)

    async def add(self, provider: Provider) -> None:
        """Register a provider. Raises Conflict, Malformed, Unavailable: then nothing has changed."""

        def added(old: list[Provider]) -> list[Provider]:
            table = self._instance.config.models
            if provider["id"] in table.connectors:
                raise Conflict(f"There is a provider `{provider['id']}` already.", param="id")
            names = {name for model in table.models for name in (model.id, *model.aliases)}
            if taken := [model for model in provider["serves_models"] if model in names]:
                raise Conflict(f"There is a model `{taken[0]}` already.", param="serves_models")
            if len(old) >= MAX_PROVIDERS:
                raise Conflict(f"{MAX_PROVIDERS} providers are registered: remove some.", code="too_many_providers")
            return [*old, provider]

        await self._change(added)

    async def remove(self, provider_id: str) -> None:
        """Remove a registered provider. Raises Conflict, UnknownProvider, Malformed, Unavailable."""

        def removed(old: list[Provider]) -> list[Provider]:
            kept = [each for each in old if each["id"] != provider_id]
            if len(kept) < len(old):
                return kept
            if provider_id in self._instance.config.models.connectors:
                raise Conflict(f"Provider `{provider_id}` stands in the configuration: remove it there.")
            raise UnknownProvider(f"There is no provider `{provider_id[:64]}`.")

        await self._change(removed)

    async def _change(self, change: Callable[[list[Provider]], list[Provider]]) -> None:
        async with self._changing:
            old = await asyncio.to_thread(self.providers)
            new = change(old)
            state = self._instance.config.state
            # First on disk: a crash leaves what the next start attests. A failure leaves what is in force.
            await asyncio.to_thread(write_providers, state, new)
            try:
                # Again, in its turn: policies may have been changed meanwhile.
                await reload(self._instance, lambda: self._configured(old, new))
            except BaseException:
                await asyncio.to_thread(write_providers, state, old)
                raise

    def _configured(self, old: Sequence[Provider], new: Sequence[Provider]) -> Config:
        """The configuration in force, with other registered providers. Raises Malformed."""
        now = self._instance.config
        document = with_registered(without_registered(now.document, old), new, now.state)
        return replace(decode_config(document), workers=now.workers)
