"""A new registry while calls run: judged, stored, then put in force as a reload puts a configuration."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from gateway.config import Config, decode_config
from gateway.errors import Forbidden, InvalidRequest
from gateway.instance import Instance
from gateway.registry.document import Registry
from gateway.registry.judge import open_registry
from gateway.reload import reload
from gateway.stored_registry import read_registry, with_registry, write_file, write_registry
from tee.canonical import digest_bytes


class Registering:
    """Changes the registry of the keeper."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._changing = asyncio.Lock()

    @property
    def registry(self) -> Registry | None:
        """The one in force."""
        return self._instance.config.registry

    async def put(self, raw: bytes) -> Registry:
        """Put a signed registry in force. Raises Malformed, Unavailable, Forbidden."""
        async with self._changing:
            config, state = self._instance.config, self._instance.config.state
            if config.registry_signers is None:
                raise Forbidden("No registry is taken here: config.registry.keys names nobody who may sign one.")
            seen = None if config.registry is None else (config.registry.sequence, config.registry.digest)
            signers, now = config.registry_signers, int(time.time())
            registry = open_registry(raw, signers, now=now, seen=seen, field="registry")
            before = await asyncio.to_thread(read_registry, state)
            await asyncio.to_thread(write_registry, state, raw)
            try:
                await reload(self._instance, self._reread)
            except BaseException:
                await asyncio.to_thread(write_registry, state, before)
                raise
            return registry

    async def put_file(self, digest: str, raw: bytes) -> None:
        """Keep a file that the registry in force names. Raises InvalidRequest."""
        if self.registry is None or digest not in self.registry.files():
            raise InvalidRequest.at("digest", "one that the registry does not name", "a file of the registry in force")
        if digest_bytes(raw) != digest:
            raise InvalidRequest.at("body", f"a file of {digest_bytes(raw)}", f"the file of {digest}")
        await asyncio.to_thread(write_file, self._instance.config.state, digest, raw)

    def _reread(self) -> Config:
        config = self._instance.config
        return replace(decode_config(with_registry(config.document, config.state)), workers=config.workers)
