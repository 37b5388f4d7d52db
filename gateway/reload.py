"""A new configuration while calls run: read, attested and logged before the first call is routed by it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import fields

from gateway.config import Config
from gateway.connectors.catalog import EMBEDDED_MOCK
from gateway.first_hashes import with_first_hashes
from gateway.instance import Instance
from gateway.stored_routing import store_baselines
from gateway.workload import configured
from tee.errors import Malformed, Unavailable

LOG = logging.getLogger("saferouter")
# Who is asked for what. All else is bound to sockets, keys and files that a start opens.
RELOADABLE = {"models", "rules", "registry", "document"}


async def reload_when_asked(instance: Instance, reread: Callable[[], Config], asked: asyncio.Event) -> None:
    """Background work: reload when `asked` is set. A failure leaves everything as it was. Runs until cancelled."""
    while True:
        await asked.wait()
        asked.clear()
        try:
            words = await reload(instance, reread)
        except (Malformed, Unavailable) as error:
            LOG.error("The configuration is not reloaded, and the old one stays in force: %s.", error)
        else:
            LOG.warning("%s", words)


async def reload(instance: Instance, reread: Callable[[], Config]) -> str:
    """Put the configuration that `reread` gives in force; what it changed, in words. Raises Malformed, Unavailable.

    Calls that are on their way end by the old one, and their receipts name the old one's keyset.
    """
    async with instance.reloading:
        return await _reload(instance, reread)


async def _reload(instance: Instance, reread: Callable[[], Config]) -> str:
    read = await asyncio.to_thread(reread)
    old, new = instance.config, with_first_hashes(read)
    require_reloadable(old, new)
    workload, before = configured(instance.keys.workload, new), instance.keys.workload["configuration"]
    changed = [name for name, value in workload["configuration"].items() if value != before[name]]
    if not changed:
        return "The configuration is read again: nothing has changed."
    await instance.renewal.change(workload, float(new.limits.boot_seconds))
    # From the keyset's being in force to here nothing was awaited, so no call began between.
    instance.config = new
    instance.pipeline.configure(new)
    instance.meters.use(new.models)
    if new.rules.baselines != read.rules.baselines:
        await asyncio.to_thread(store_baselines, new.state, new.rules.baselines)
    return f"The configuration is reloaded ({', '.join(changed)} changed), attested as {instance.keys.keyset.digest}."


def require_reloadable(old: Config, new: Config) -> None:
    """Raises Malformed for what only a start can change."""
    for each in fields(Config):
        if each.name not in RELOADABLE and getattr(old, each.name) != getattr(new, each.name):
            raise Malformed(f"config.{each.name}", "another value than at the start", "the same: a restart changes it")
    if _embedded(new) and not _embedded(old):
        raise Malformed("config.providers", "the embedded mock", "what was there at the start: a restart begins it")


def _embedded(config: Config) -> bool:
    return any(row.base_url == EMBEDDED_MOCK for row in config.models.connectors.values())
