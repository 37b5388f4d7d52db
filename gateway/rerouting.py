"""Policies and baselines that change while calls run: stored, then put in force as a reload puts a configuration."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from gateway.config import Config, decode_config
from gateway.instance import Instance
from gateway.reload import reload
from gateway.routing.identity import Baselines, Shown, TlsIdentity
from gateway.routing.policy import RoutingPolicy
from gateway.stored_routing import (
    next_version,
    read_stored,
    store_baselines,
    with_baselines,
    with_policy,
    with_stored,
    write_stored,
)
from tee.errors import Malformed, Unavailable

LOG = logging.getLogger("saferouter")
SETTLE_SECONDS = 0.5  # identities that are seen together become baselines together: each change is attested
RETRY_SECONDS = 30.0


class Rerouting:
    """Changes what the keeper routes by."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._seen: dict[str, TlsIdentity] = {}
        self._anything = asyncio.Event()
        self._changing = asyncio.Lock()
        identities = instance.upstream.identities
        identities.on_first, identities.on_drift = self.note_first, tell_drift

    def note_first(self, provider: str, shown: Shown) -> None:
        """A provider without a baseline has shown who it is."""
        self._seen.setdefault(provider, shown.identity)
        self._anything.set()

    async def put_policy(self, name: str, sent: Any) -> RoutingPolicy:
        """Put a policy in force, in its next version. Raises Malformed, Unavailable."""
        async with self._changing:
            current = self._instance.config.rules.policy(name)
            policy = next_version(sent, current, name)
            if policy != current:
                await self._store(lambda stored: with_policy(stored, policy))
            return policy

    async def take_baselines(self, providers: Mapping[str, TlsIdentity]) -> None:
        """Have these be the baselines of these providers. Raises Malformed, Unavailable."""
        async with self._changing:
            known = self._instance.config.rules.baselines
            taken = Baselines({**known.providers, **providers}, known.models)
            await self._store(lambda stored: with_baselines(stored, taken))

    async def run(self) -> None:
        """Background work: what is seen for the first time becomes a baseline. Runs until cancelled."""
        config = self._instance.config  # models that declare a content hash for the first time were attested with it
        await asyncio.to_thread(store_baselines, config.state, config.rules.baselines)
        while True:
            await self._anything.wait()
            self._anything.clear()
            await asyncio.sleep(SETTLE_SECONDS)
            known = self._instance.config.rules.baselines.providers
            self._seen = {name: each for name, each in self._seen.items() if name not in known}
            seen = dict(self._seen)  # more may be seen meanwhile
            if not seen:
                continue
            try:
                await self.take_baselines(seen)
            except (Malformed, Unavailable) as error:
                LOG.error(
                    "The first identity of %s is not recorded, and they stay in quarantine: %s.", _names(seen), error
                )
                await asyncio.sleep(RETRY_SECONDS)
                self._anything.set()
            else:
                self._seen = {name: each for name, each in self._seen.items() if name not in seen}
                LOG.warning("The TLS identity of %s is its baseline from now on.", _names(seen))

    async def _store(self, change: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
        """Store a change, and put it in force; where that fails, it is as if nothing had been stored."""
        state = self._instance.config.state
        before = await asyncio.to_thread(read_stored, state)
        await asyncio.to_thread(write_stored, state, change(before))

        def reread() -> Config:
            config = self._instance.config
            return replace(decode_config(with_stored(config.document, state)), workers=config.workers)

        try:
            await reload(self._instance, reread)
        except BaseException:
            await asyncio.to_thread(write_stored, state, before)
            raise


def tell_drift(provider: str, shown: Shown) -> None:
    """The operator, of each new drift."""
    LOG.error(
        "Provider %s shows another TLS identity than its pins or its baseline (key %s, root %s): it is in quarantine. "
        "If that is right, `saferouter policy baseline %s` and SIGHUP take on the new one.",
        *(provider, shown.spki, shown.identity.root, provider),
    )


def _names(seen: Mapping[str, object]) -> str:
    return ", ".join(sorted(seen))
