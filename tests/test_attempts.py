"""Attempts as a host without a gateway uses them: plans of its own, hooks, and what is known of every target."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from gateway.attempts import MAX_ATTEMPTS, Asked, Attempt, Attempts, Target
from gateway.config import Limits
from gateway.connectors.connector import Connector
from gateway.dialects import openai_chat
from gateway.errors import GatewayError, InvalidRequest, UpstreamFailed
from gateway.routing.health import BreakerPolicy, State
from gateway.routing.retry import RetryPolicy
from gateway.upstream import Upstream
from tests.test_fallback import ANSWER, JSON, STREAM, failing
from tests.worlds.upstream import Recording, ScriptedUpstream, scripted_upstream

QUICK = RetryPolicy(attempts=2, base_milliseconds=1, cap_milliseconds=50)


@pytest.fixture
def provider() -> Iterator[ScriptedUpstream]:
    with scripted_upstream() as upstream:
        yield upstream


def read(_target: int, body: bytes) -> str:
    fields = json.loads(body)
    if "choices" not in fields:
        raise UpstreamFailed("no answer")
    return str(fields["choices"][0]["message"]["content"])


async def unseal(key: Connector) -> str:
    return key.credential_env[0]


def target(provider: ScriptedUpstream, name: str, prepare: Callable[[], Asked] | None = None) -> Target:
    row = Connector(name, "vllm", "openai_chat", provider.base_url, (f"{name}-key",))
    asked = Asked(openai_chat.PROVIDER, f"{provider.base_url}/chat/completions", b"{}", {"x-target": name})
    return Target(row, "m", prepare or (lambda: asked))


@asynccontextmanager
async def attempts(retry: RetryPolicy = QUICK, limits: Limits | None = None) -> AsyncIterator[Attempts]:
    limits = limits or Limits()
    upstream = Upstream(limits, stock=False)
    try:
        yield Attempts(upstream, unseal, limits, retry, BreakerPolicy(failures=3))
    finally:
        await upstream.close()


def asked_of(provider: ScriptedUpstream) -> list[str | None]:
    return [got.header("x-target") for got in provider.received]


def test_hooks_are_told_of_every_attempt_in_order(provider: ScriptedUpstream) -> None:
    async def run() -> None:
        async with attempts() as tries:
            told: list[object] = []
            plan = [target(provider, "a"), target(provider, "b")]
            reached = await tries.reach(plan, read, stream=False, started=told.append, finished=told.append)
            assert (reached.target, reached.made) == (1, "from the first")
            assert [each if isinstance(each, int) else (each.target, each.status) for each in told] == [  # type: ignore[attr-defined]
                0, (0, 503), 0, (0, 503), 1, (1, 200)
            ]  # fmt: skip

    provider.play(failing(503), failing(503), ANSWER)
    asyncio.run(run())
    assert asked_of(provider) == ["a", "a", "b"]


def test_a_plan_of_equals_bubbles_a_refusal_of_any(provider: ScriptedUpstream) -> None:
    async def run() -> None:
        async with attempts() as tries:
            reached = await tries.reach([target(provider, "a"), target(provider, "b")], read, stream=False)
            assert (reached.answer.status, reached.made, reached.target) == (422, None, 1)

    provider.play(failing(503), failing(503), failing(422))
    asyncio.run(run())


def test_a_stream_is_held_until_it_says_something_and_its_end_is_the_hosts_to_tell(provider: ScriptedUpstream) -> None:
    async def run() -> None:
        async with attempts() as tries:
            reached = await tries.reach([target(provider, "a")], read, stream=True)
            assert reached.streams
            (known,) = tries.health().values()
            assert (known.in_flight, known.outcomes) == (1, 0)
            rest = reached.body
            while piece := await reached.answer.next():
                rest += piece
            assert rest == STREAM.body
            reached.done(False)
            reached.done(True)  # the first word counts
            await reached.answer.close()
            (known,) = tries.health().values()
            assert (known.in_flight, known.outcomes, known.success_rate) == (0, 1, 0.0)

    provider.play(replace(STREAM, piece=20))
    asyncio.run(run())


def test_what_is_known_of_a_target_is_shown(provider: ScriptedUpstream) -> None:
    async def run() -> None:
        async with attempts(RetryPolicy(attempts=1)) as tries:
            for _ in range(3):
                await tries.reach([target(provider, "a")], read, stream=False)
            await tries.reach([target(provider, "b")], read, stream=False)
            known = tries.health()
            assert (known["a", "m"].state, known["a", "m"].p50) == (State.OPEN, None)
            assert (known["b", "m"].state, known["b", "m"].success_rate) == (State.CLOSED, 1.0)
            assert (known["b", "m"].p50 or 0.0) > 0.0

    provider.play(*[failing(500)] * 3, ANSWER)
    asyncio.run(run())


def test_a_call_has_a_bounded_number_of_attempts(provider: ScriptedUpstream) -> None:
    async def run() -> None:
        async with attempts(RetryPolicy(attempts=8, base_milliseconds=1)) as tries:
            plan = [target(provider, name) for name in "abcdef"]
            reached = await tries.reach(plan, read, stream=False)
            assert (reached.target, reached.answer.status) == (0, 500)

    provider.play(failing(500))
    asyncio.run(run())
    assert len(provider.received) == MAX_ATTEMPTS


def test_a_target_that_cannot_be_asked_is_the_hosts_error_unless_it_only_stands_in(provider: ScriptedUpstream) -> None:
    def refuse() -> Asked:
        raise InvalidRequest("not in this language")

    async def run() -> None:
        async with attempts() as tries:
            unasked = target(provider, "a", refuse)
            with pytest.raises(InvalidRequest):
                await tries.reach([unasked, target(provider, "b")], read, stream=False)
            standing_in = [target(provider, "b"), replace(unasked, alternative=True), target(provider, "c")]
            reached = await tries.reach(standing_in, read, stream=False)
            assert reached.target == 2

    provider.play(failing(503), failing(503), ANSWER)
    asyncio.run(run())
    assert asked_of(provider) == ["b", "b", "c"]


def test_a_host_that_gives_up_leaves_nothing_behind(provider: ScriptedUpstream) -> None:
    async def run() -> None:
        async with attempts() as tries:
            ended: list[Attempt] = []
            asking = tries.reach([target(provider, "a")], read, stream=False, finished=ended.append)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asking, 0.5)
            (known,) = tries.health().values()
            assert (known.in_flight, known.outcomes) == (0, 0)
            assert [attempt.failure for attempt in ended] == ["cancelled"]

    provider.play(Recording(b"", JSON, ending="silence"))
    asyncio.run(run())
    assert provider.abandoned.wait(20)


def test_the_whole_call_is_bounded_in_time(provider: ScriptedUpstream) -> None:
    async def run() -> None:
        async with attempts(limits=Limits(total_seconds=1)) as tries:
            with pytest.raises(GatewayError) as caught:
                await tries.reach([target(provider, name) for name in "ab"], read, stream=False)
            assert caught.value.code == "upstream_timeout"

    provider.play(Recording(b"", JSON, ending="silence"))
    asyncio.run(run())
    assert asked_of(provider) in (["a"], [])
