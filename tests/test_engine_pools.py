"""The engine's pools: what they are, who is asked, who is asked next, and how that ends."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from gateway.engine import (
    BreakerPolicy,
    Endpoint,
    ExecutionTarget,
    GatewayError,
    InferenceRequest,
    LoadBalancingStrategy,
    ModelPolicy,
    NoAvailableEndpoint,
    Outcome,
    PoolNotFound,
    ProviderKind,
    ProviderPool,
    RetryPolicy,
    SecretString,
    UniGatewayEngine,
    UpstreamFailed,
    UpstreamRefused,
    Usage,
)
from gateway.engine.core.attempts import MAX_ATTEMPTS
from tee.errors import Malformed
from tests.worlds.pools import (
    ASKED,
    KEY,
    Memory,
    Upstreams,
    ask,
    endpoint,
    new_engine,
    pool,
    refused,
    run,
    said,
    sent,
    slow_engine,
    started,
    streamed,
)
from tests.worlds.upstream import Recording


@pytest.mark.parametrize(
    ("first", "calls"),
    [(refused(401), 1), (refused(429, retry_after="30"), 1), (refused(529), 2), (said("", choices=[]), 2)],
)
def test_who_is_asked_next(two: Upstreams, first: Recording, calls: int) -> None:
    """R102: a key that is refused or spent is left at once, an endpoint that fails is tried again, then left."""
    two[0].play(first)

    async def work() -> str:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(endpoint(two[0]), endpoint(two[1], "ep-2")))
            return await ask(engine)

    assert run(work()) == "from 1"
    assert len(two[0].received) == calls


def test_when_all_fail_the_last_word_is_raised_and_keys_stay_hidden(two: Upstreams) -> None:
    """R104: neither an error nor a report repeats a key, nor the provider's word on it as the client's 401."""
    two[0].play(refused(401))
    memory = Memory()

    async def work() -> None:
        async with new_engine(memory) as engine:
            await engine.upsert_pool(pool(endpoint(two[0])))
            with pytest.raises(UpstreamFailed) as caught:
                await ask(engine)
            assert (caught.value.status, caught.value.code) == (502, "upstream_refused_key")

    run(work())
    assert KEY not in repr(memory)


def test_an_endpoint_that_keeps_failing_is_spared(two: Upstreams) -> None:
    """R102: its breaker opens, and the others are asked first, whatever the strategy says."""
    two[0].play(refused(500))

    async def work() -> None:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(endpoint(two[0]), endpoint(two[1], "ep-2"), retry_policy=RetryPolicy(1)))
            for _ in range(12):
                assert await ask(engine) == "from 1"

    run(work())
    assert 1 <= len(two[0].received) < 6


def test_an_endpoint_that_is_back_is_asked_again(two: Upstreams) -> None:
    """R102: when it has rested, one request probes it."""
    two[0].play(refused(500))

    async def work() -> None:
        builder = UniGatewayEngine.builder().with_builtin_http_drivers()
        async with builder.with_breaker(BreakerPolicy(failures=2, rest_seconds=0)).build() as engine:
            await engine.upsert_pool(pool(endpoint(two[0]), endpoint(two[1], "ep-2")))
            assert await ask(engine) == "from 1"  # two attempts opened the breaker, which does not rest
            two[0].play(said("from 0"))
            assert [await ask(engine) for _ in range(3)] == ["from 0"] * 3

    run(work())


def test_round_robin_is_the_default(two: Upstreams) -> None:
    """R102: a pool that says nothing goes round; `RetryPolicy()` is the default policy."""
    bare = ProviderPool("my-service", [endpoint(two[0]), endpoint(two[1], "ep-2")])
    assert bare.load_balancing is LoadBalancingStrategy.ROUND_ROBIN and bare.retry_policy == RetryPolicy()

    async def work() -> list[str]:
        async with new_engine() as engine:
            await engine.upsert_pool(bare)
            return [await ask(engine) for _ in range(4)]

    assert run(work()) == ["from 0", "from 1", "from 0", "from 1"]


@pytest.mark.parametrize("strategy", [LoadBalancingStrategy.COST, LoadBalancingStrategy.WEIGHTED])
def test_other_strategies_choose_by_what_endpoints_say(two: Upstreams, strategy: LoadBalancingStrategy) -> None:
    """R102"""
    dear = endpoint(two[0], weight=0, micro_usd_per_million=9)
    cheap = endpoint(two[1], "ep-2", weight=5, micro_usd_per_million=1)

    async def work() -> list[str]:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(dear, cheap, load_balancing=strategy))
            return [await ask(engine) for _ in range(3)]

    assert run(work()) == ["from 1"] * 3


def test_the_least_busy_endpoint_is_asked(two: Upstreams) -> None:
    """R102: calls that are open count, and no longer once they have ended."""
    two[0].play(replace(streamed("open"), ending="hold"))

    async def work() -> None:
        async with new_engine() as engine:
            await engine.upsert_pool(
                pool(endpoint(two[0]), endpoint(two[1], "ep-2"), load_balancing=LoadBalancingStrategy.LEAST_BUSY)
            )
            async with await started(engine) as held:
                assert [await ask(engine) for _ in range(3)] == ["from 1"] * 3
            assert (await held.completion).endpoint_id == "ep-openai-1"
            two[0].play(said("from 0"))
            assert "from 0" in [await ask(engine) for _ in range(2)]

    run(work())


def test_pools_must_be_there_first(two: Upstreams) -> None:
    """R98, R124: `upsert_pool` is the only way in; without it PoolNotFound, before anything else happens."""
    memory = Memory()

    async def work() -> None:
        async with new_engine(memory) as engine:
            with pytest.raises(PoolNotFound, match=r"my-service.*upsert_pool") as caught:
                await ask(engine)
            assert isinstance(caught.value, GatewayError)
            assert (caught.value.status, caught.value.code) == (404, "pool_not_found")
            assert await engine.get_pool("my-service") is None
            mine = pool(endpoint(two[0]))
            await engine.upsert_pool(mine)
            assert await engine.get_pool("my-service") is mine

    run(work())
    assert not memory.reports


def test_pools_come_at_the_start_and_change_at_run_time(two: Upstreams) -> None:
    """R99, R100: all are upserted once; an update counts from the next request on, and so does a removal."""

    async def work() -> None:
        async with new_engine() as engine:
            for name in ("a", "b"):
                await engine.upsert_pool(replace(pool(endpoint(two[0])), pool_id=name))
            assert [each.pool_id for each in await engine.list_pools()] == ["a", "b"]
            assert await ask(engine, target=ExecutionTarget.pool("a")) == "from 0"
            await engine.upsert_pool(replace(pool(endpoint(two[1])), pool_id="a"))
            assert await ask(engine, target=ExecutionTarget.pool("a")) == "from 1"
            assert await ask(engine, target=ExecutionTarget.pool("b")) == "from 0"
            assert await engine.remove_pool("a") is True
            assert await engine.remove_pool("a") is False
            with pytest.raises(PoolNotFound):
                await ask(engine, target=ExecutionTarget.pool("a"))

    run(work())


def test_a_stream_outlives_the_removal_of_its_pool(two: Upstreams) -> None:
    """R100"""
    two[0].play(streamed("still", "here"))

    async def work() -> str:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(endpoint(two[0])))
            session = await started(engine)
            await engine.remove_pool("my-service")
            return "".join([chunk.delta or "" async for chunk in session.stream])

    assert run(work()) == "stillhere"


def test_a_pool_has_the_members_asked_for() -> None:
    """R101, R103, R104, R105: members and defaults; the key shows itself only to who asks for it by name."""
    key = SecretString("sk-very-secret")
    one = Endpoint(
        endpoint_id="ep-openai-1",
        provider_name="openai-main",
        source_endpoint_id="openai-main",
        provider_family="openai",
        provider_kind=ProviderKind.OPENAI_COMPATIBLE,
        driver_id="openai-compatible",
        base_url="https://api.openai.com",
        api_key=key,
    )
    whole = ProviderPool(
        pool_id="my-service",
        load_balancing=LoadBalancingStrategy.ROUND_ROBIN,
        retry_policy=RetryPolicy(),
        metadata={},
        endpoints=[one],
    )
    assert one.model_policy == ModelPolicy() and one.enabled and one.metadata == {}
    assert ModelPolicy().resolve("any") == "any"
    for shown in (repr(whole), str(key), f"{key}", repr(asdict(whole))):
        assert "very-secret" not in shown and "redacted" in shown
    assert key.expose_secret() == "sk-very-secret" and key == SecretString("sk-very-secret") != SecretString("other")
    with pytest.raises(TypeError):
        json.dumps({"key": key})


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "api.openai.com"},
        {"base_url": "https://u:p@h"},
        {"endpoint_id": ""},
        {"weight": -1},
        {"auth_header": "cookie"},
    ],
)
def test_a_pool_that_could_only_fail_is_refused(two: Upstreams, wrong: dict[str, Any]) -> None:
    """R98"""

    async def work() -> None:
        async with new_engine() as engine:
            with pytest.raises(Malformed):
                await engine.upsert_pool(pool(endpoint(two[0], **wrong)))
            with pytest.raises(Malformed):
                await engine.upsert_pool(pool(endpoint(two[0]), endpoint(two[1])))  # the same id twice
            assert await engine.list_pools() == []

    run(work())


@pytest.mark.parametrize("hint", ["EP-2", "ep-2-NAME", " ep-2-source ", "DeepSeek"])
def test_a_hint_means_an_endpoint_by_any_of_its_names(two: Upstreams, hint: str) -> None:
    """R106: id, name, source and family, in any case of letters."""

    async def work() -> str:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(endpoint(two[0]), endpoint(two[1], "ep-2", provider_family="deepseek")))
            return await ask(engine, target=ExecutionTarget.pool("my-service", hint=hint))

    assert run(work()) == "from 1"


def test_a_hint_that_means_nobody_is_refused_and_not_passed_over(two: Upstreams) -> None:
    """R106"""

    async def work() -> None:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(endpoint(two[0])))
            with pytest.raises(NoAvailableEndpoint, match="hint"):
                await ask(engine, target=ExecutionTarget.pool("my-service", hint="anthropic"))

    run(work())
    assert not two[0].received


def test_models_are_renamed_restricted_and_filled_in(two: Upstreams) -> None:
    """R105: aliases, an endpoint's own models, and the one for requests that name none."""
    large = ModelPolicy(model_mapping={"large": "vendor/large-v2"}, allowed_models=frozenset({"large"}))
    small = ModelPolicy(default_model="small", model_mapping={"small": "small-v1"})

    async def work() -> None:
        async with new_engine() as engine:
            await engine.upsert_pool(
                pool(endpoint(two[0], model_policy=large), endpoint(two[1], "ep-2", model_policy=small))
            )
            assert await ask(engine, replace(ASKED, model="large")) == "from 0"
            assert await ask(engine, replace(ASKED, model="")) == "from 1"
            await engine.upsert_pool(pool(endpoint(two[0], model_policy=large)))
            with pytest.raises(NoAvailableEndpoint):
                await ask(engine, replace(ASKED, model="other"))

    run(work())
    assert sent(two[0])["model"] == "vendor/large-v2" and sent(two[1])["model"] == "small-v1"


def test_a_disabled_endpoint_is_not_asked(two: Upstreams) -> None:
    """R103"""

    async def work() -> None:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(endpoint(two[0], enabled=False), endpoint(two[1], "ep-2")))
            assert await ask(engine) == "from 1"
            await engine.upsert_pool(pool(endpoint(two[0], enabled=False)))
            with pytest.raises(NoAvailableEndpoint):
                await ask(engine)

    run(work())


def test_a_stream_that_does_not_begin_is_left_for_another(two: Upstreams) -> None:
    """R102: whoever is too slow to begin is not waited for; nothing had been given out."""
    slow, quick = endpoint(two[0], driver_id="slow"), endpoint(two[1], "ep-2", driver_id="echo")

    async def work() -> None:
        engine = slow_engine(Usage(1, 0), first_token_seconds=1)
        await engine.upsert_pool(pool(slow, quick))
        session = await started(engine)
        report = await session.into_completion()
        assert report.endpoint_id == "ep-2"
        assert [each.status for each in report.attempts] == [Outcome.RETRIED, Outcome.SUCCEEDED]
        assert report.attempts[0].error == "The provider did not answer in time."

    run(work())


def test_a_request_is_not_a_storm(two: Upstreams) -> None:
    """R102: however many endpoints fail, a request makes a bounded number of attempts."""
    two[0].play(refused(500))
    many = [endpoint(two[0], f"ep-{number}") for number in range(40)]

    async def work() -> None:
        async with new_engine() as engine:
            await engine.upsert_pool(pool(*many, retry_policy=RetryPolicy(1)))
            with pytest.raises(UpstreamRefused):
                await ask(engine)

    run(work())
    assert len(two[0].received) == MAX_ATTEMPTS


def test_the_error_of_the_first_choice_is_shown(two: Upstreams) -> None:
    """R102: what a second choice could not even be asked hides nothing."""
    two[0].play(refused(503))
    claude = endpoint(two[1], "ep-2", driver_id="anthropic", api_key=SecretString(""), provider_family="anthropic")

    async def work() -> None:
        async with new_engine() as engine:
            for order in ((endpoint(two[0]), claude), (claude, endpoint(two[0]))):
                await engine.upsert_pool(pool(*order))
                several = replace(ASKED, rest=InferenceRequest("engine", "", (), choices=2))
                with pytest.raises(UpstreamRefused, match="503"):
                    await ask(engine, several)

    run(work())
