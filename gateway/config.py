"""The gateway's configuration: one frozen value, read once from TOML and the environment."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from gateway.config_database import decode_database
from gateway.config_fields import bounded as _bounded
from gateway.config_fields import refuse_unknown as _refuse_unknown
from gateway.config_fields import typed as _typed
from gateway.config_policies import NAMES as _POLICIES
from gateway.config_policies import decode_rules
from gateway.config_prices import decode_prices
from gateway.config_providers import decode_connector
from gateway.config_rates import RATES, RateSettings, decode_rates
from gateway.config_registry import NAMES as _REGISTRY
from gateway.config_registry import decode_registry, decode_signers, with_claims
from gateway.config_routes import decode_breaker, decode_models, decode_retry, demo_document
from gateway.connectors.connector import Connector
from gateway.connectors.registered import with_registered
from gateway.money.price_book import PriceBook
from gateway.provider_file import read_providers
from gateway.registry.document import Registry
from gateway.routing.health import BreakerPolicy
from gateway.routing.retry import RetryPolicy
from gateway.routing.route import ModelTable
from gateway.routing.rules import RoutingRules
from gateway.sampling import DEFAULT_PER_MILLION, parse_rate
from gateway.stored_registry import with_registry
from gateway.stored_routing import with_stored
from tee.aws.kms_key import KmsKeyName, parse_key_name
from tee.aws.s3_place import S3Place, parse_s3_place
from tee.aws.sigv4 import AwsCredentials
from tee.canonical import digest, digest_bytes
from tee.collateral.kds import AMD_KDS, parse_kds_url
from tee.errors import Malformed
from tee.keys.identity import platform_kinds
from tee.log.announcement import parse_announcement
from tee.log.witnesses import WitnessPolicy, parse_witness_policy
from tee.measure.envelope import Signers
from tee.origin import is_private_channel, parse_origin

DEFAULT_PORT = 8484
MAX_DAYS = 36525  # a century: who keeps longer keeps for ever
AUDIT_RATE = "SAFEROUTER_AUDIT_RATE"
MAX_WORKERS = 64  # one keeper signs for all, and is busy long before
# A keyset ends before the certificates in its quote do: AWS's live for three hours.
PLATFORM_KEYSET_SECONDS = 9000
_TOKEN_FILES = ("metrics_token_file", "admin_token_file")
_SWITCHES = ("stock_http", "access_log", "drain")
_LOG_STORE = ("log_store", "log_store_region", "log_store_endpoint")
_KNOWN = {"host", "port", "audience", "state", "keyset_seconds", "repo_url", "limits", "providers", "models"}
_KNOWN |= {"collateral", "kds_url", "sealing", "witness_policy", "retry", "breaker", "drain", "prices"}
_KNOWN |= {"platform_evidence", "audit_rate", "retention", "announcement", "stock_http", "workers", *_LOG_STORE}
_KNOWN |= {"access_log", "database_url", *_TOKEN_FILES, *_POLICIES, *RATES, *_REGISTRY}


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what comes from outside. Sizes in bytes, times in seconds."""

    body: int = 32 << 20  # images inline in a long chat; more is not a chat
    answer: int = 64 << 20
    frame: int = 16 << 20  # one event of a stream; the largest carry an image
    header: int = 64 << 10
    connect_seconds: int = 10
    silence_seconds: int = 300  # reasoning models think this long without a byte
    first_token_seconds: int = 300  # of one attempt, until its stream has begun to answer
    total_seconds: int = 3600  # of one call with all its attempts, until its last byte
    stall_seconds: int = 120  # how long a client may take none of the bytes that wait for it
    stop_seconds: int = 25  # how long a stop waits for open calls; Kubernetes kills after 30
    open_calls: int = 1024
    waiting_quotes: int = 32
    quote_seconds: int = 25  # how long a caller may wait for a report; verifiers hang up after 30
    quotes_per_minute: int | None = None  # requests to the attestation device; None: what its kind bears (desk.py)
    boot_seconds: int = 180  # for the first report: Linux itself gives up on a busy host after 60


@dataclass(frozen=True, slots=True)
class SealingSettings:
    """How secrets outlive a boot (SPEC §14). `measurement_covers` is what the launch measurement covers, if said."""

    kind: str = "auto"
    kms_key: KmsKeyName | None = None
    measurement_covers: str | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that steers the gateway. Credentials are read when used and never stand here."""

    host: str
    port: int
    audience: str
    state: Path
    models: ModelTable
    rules: RoutingRules = field(default_factory=RoutingRules)
    registry_signers: Signers | None = None
    registry: Registry | None = field(default=None, repr=False)
    limits: Limits = field(default_factory=Limits)
    keyset_seconds: int = 24 * 3600
    platform_evidence: tuple[str, ...] = ()
    repo_url: str | None = None
    witnesses: WitnessPolicy | None = None
    announcement: bytes | None = None  # shown to verifiers; it steers nothing, so no digest covers it
    sealing: SealingSettings = field(default_factory=SealingSettings)
    collateral: Path | None = None
    kds_url: str | None = AMD_KDS  # None: ask nobody
    audit_per_million: int = DEFAULT_PER_MILLION
    log_store: S3Place | None = None  # where the log is copied to, beside its folder
    receipt_days: int | None = None  # how long the texts of receipts are kept; None: for ever
    activity_days: int | None = None  # the same of the rows of activity
    workers: int = 1  # processes that carry calls
    document: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)  # what all this was read from
    access_log: bool = False  # a line for each call on standard output
    admin_token_file: Path | None = None  # who manages tenants and providers shows its token; None: nobody does
    metrics_token_file: Path | None = None  # who reads /metrics shows its token; None: who is on this machine
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)
    rates: RateSettings = field(default_factory=RateSettings)
    drain: bool = False  # read an answer to its end for what it used, though its client has left
    database: str | None = field(default=None, repr=False)  # a URL, which may hold a password
    prices: PriceBook = field(default_factory=PriceBook)  # what calls are charged
    stock_http: bool = False  # speak HTTP/1.1 by hypercorn and httpcore alone, without our own parts

    @property
    def collateral_folder(self) -> Path:
        """Where AMD's certificates and lists are kept."""
        return self.collateral or self.state / "collateral"

    @property
    def database_url(self) -> str:
        """PostgreSQL where one is named, else SQLite beside the keys."""
        return self.database or f"sqlite:///{self.state / 'gateway.sqlite3'}"

    def digests(self) -> dict[str, str]:
        """The configuration digests of the workload document (SPEC §4.3): what steers behaviour, attested."""
        providers = [
            {
                "id": row.id,
                "family": row.family,
                "dialect": row.dialect,
                "base_url": row.base_url,
                "region": row.region,
                "auth_header": row.auth_header,
                "api_version": row.api_version,
                "roots": None if row.roots is None else digest_bytes(row.roots.encode()),
                "pins": sorted(row.pins),
                "credentials": [_places(key) for key in (row, *row.spares)],
            }
            for row in self.models.connectors.values()
        ]
        models = [asdict(row) for row in (*self.models.models, *self.models.prefixes)]
        return {
            "providers": digest(providers),
            "models": digest(models),
            "policies": digest(self.rules.to_json()),
            "prices": self.prices.digest,
            "settings": digest(self._settings()),
        }

    def _settings(self) -> dict[str, Any]:
        """What else steers behaviour."""
        settings = {name: getattr(self.limits, name) for name in Limits.__slots__}
        if self.witnesses is not None:
            settings["witnesses"] = self.witnesses.to_json()
        settings |= {"host": self.host, "port": self.port, "keyset_seconds": self.keyset_seconds}
        settings |= {"audit_per_million": self.audit_per_million, "receipt_days": self.receipt_days}
        settings |= {"log_store": None if self.log_store is None else asdict(self.log_store)}
        settings |= {"access_log": self.access_log}
        settings |= {name: str(getattr(self, name) or "") for name in _TOKEN_FILES}
        settings |= {
            "activity_days": self.activity_days,
            "registry": None if self.registry is None else self.registry.digest,
            "registry_signers": None if self.registry_signers is None else self.registry_signers.to_json(),
            "workers": self.workers,
            "stock_http": self.stock_http,
            "retry": asdict(self.retry),
            "breaker": asdict(self.breaker),
            "rates": self.rates.public(),
            "drain": self.drain,
            "kds_url": self.kds_url,
            "sealing": asdict(self.sealing),
        }
        return settings


def load_config(path: Path | None, environ: Mapping[str, str] = os.environ) -> Config:
    """Read `path`, or the built-in demo table where there is none. Raises Malformed."""
    document: dict[str, Any] = demo_document()
    if path is not None:
        try:
            document = tomllib.loads(path.read_text())
        except OSError as error:
            raise Malformed(str(path), error.strerror or "an unreadable file", "a readable file") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise Malformed(str(path), str(error), "TOML") from None
    state = _state(document, environ)
    document = with_stored(with_registered(document, read_providers(state), state), state)
    return decode_config(with_registry(document, state), environ)


def decode_config(document: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Config:
    """A configuration from its document; unknown names are refused. Raises Malformed."""
    _refuse_unknown(document, _KNOWN, "config")
    kinds = platform_kinds(document.get("platform_evidence", []), "config.platform_evidence")
    longest, usual = (PLATFORM_KEYSET_SECONDS, PLATFORM_KEYSET_SECONDS) if kinds else (7 * 24 * 3600, 24 * 3600)
    host = _typed(document, "host", str, "127.0.0.1", "config")
    configured = _typed(document, "port", int, DEFAULT_PORT, "config")
    port = _number("PORT", environ.get("PORT"), configured, 65535, "config.port")
    configured = _typed(document, "workers", int, 1, "config")
    workers = _number(
        "SAFEROUTER_WORKERS", environ.get("SAFEROUTER_WORKERS"), configured, MAX_WORKERS, "config.workers"
    )
    signers = decode_signers(document)
    registry = decode_registry(document, signers)
    models, rules = with_claims(_model_table(document), decode_rules(document), registry)
    return Config(
        host=host,
        port=port,
        audience=_audience(_typed(document, "audience", str, "", "config"), host, port),
        state=_state(document, environ),
        models=models,
        rules=rules,
        registry_signers=signers,
        registry=registry,
        limits=_limits(_typed(document, "limits", dict, {}, "config")),
        keyset_seconds=_bounded(
            _typed(document, "keyset_seconds", int, usual, "config"), 10, longest, "config.keyset_seconds"
        ),
        platform_evidence=kinds,
        repo_url=_typed(document, "repo_url", str, None, "config"),
        witnesses=_witnesses(_typed(document, "witness_policy", str, None, "config")),
        announcement=_announcement(_typed(document, "announcement", str, None, "config")),
        sealing=_sealing(_typed(document, "sealing", dict, {}, "config")),
        collateral=_path(environ.get("SAFEROUTER_COLLATERAL", _typed(document, "collateral", str, "", "config"))),
        **{name: _typed(document, name, bool, False, "config") for name in _SWITCHES},
        **_token_files(document),
        retry=decode_retry(_typed(document, "retry", dict, {}, "config")),
        breaker=decode_breaker(_typed(document, "breaker", dict, {}, "config")),
        rates=decode_rates(document),
        prices=decode_prices(_typed(document, "prices", dict, {}, "config"), models),
        kds_url=parse_kds_url(_typed(document, "kds_url", str, AMD_KDS, "config"), "config.kds_url"),
        audit_per_million=_audit_rate(document, environ),
        log_store=_log_store(document),
        receipt_days=_days(document, "receipt_days"),
        activity_days=_days(document, "activity_days"),
        workers=workers,
        database=decode_database(_typed(document, "database_url", str, None, "config"), environ),
        document=document,
    )


def _model_table(document: Mapping[str, Any]) -> ModelTable:
    rows = enumerate(_rows(document, "providers"))
    connectors = [decode_connector(row, f"config.providers[{at}]") for at, row in rows]
    by_id = {row.id: row for row in connectors}
    if len(by_id) != len(connectors):
        raise Malformed("config.providers", "an id twice", "each id once")
    named = decode_models(_rows(document, "models"), by_id)
    models = tuple(model for model in named if model.prefix is None)
    if not models:
        raise Malformed("config.models", "prefixes only", "at least one model that can be listed")
    return ModelTable(models, by_id, tuple(model for model in named if model.prefix is not None))


def read_credential(connector: Connector, environ: Mapping[str, str] = os.environ) -> str | None:
    """The provider's key: from its file, else the first variable that is set. Read per call, never kept.

    One that no header can carry (not one line of printable ASCII) counts as missing. The variable of a service account
    holds the place of its file, whose lines are joined: in JSON they are mere layout.
    """
    found = [environ.get(name, "") for name in connector.credential_env]
    file = connector.credential_file
    if connector.service_account:
        file = file or next((name for name in found if name), None)
    if file is not None:
        try:
            found = [Path(file).read_text(errors="replace")]
        except OSError:
            return None
    if connector.service_account:
        found = [" ".join(value.splitlines()) for value in found]
    keys = [value.strip() for value in found]
    return next((key for key in keys if key and key.isascii() and key.isprintable()), None)


def read_aws_credentials(environ: Mapping[str, str] = os.environ) -> AwsCredentials | None:
    """Credentials for AWS from the usual variables, or None: then they are the machine's role's."""
    key, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
    return AwsCredentials(key, secret, environ.get("AWS_SESSION_TOKEN") or None) if key and secret else None


def _state(document: Mapping[str, Any], environ: Mapping[str, str]) -> Path:
    return Path(environ.get("SAFEROUTER_STATE", _typed(document, "state", str, ".saferouter", "config")))


def _audit_rate(document: Mapping[str, Any], environ: Mapping[str, str]) -> int:
    if AUDIT_RATE in environ:
        return parse_rate(environ[AUDIT_RATE], AUDIT_RATE)
    return parse_rate(document["audit_rate"], "config.audit_rate") if "audit_rate" in document else DEFAULT_PER_MILLION


def _log_store(document: Mapping[str, Any]) -> S3Place | None:
    name, region, endpoint = (_typed(document, each, str, None, "config") for each in _LOG_STORE)
    if name is None:
        if region is not None or endpoint is not None:
            raise Malformed("config.log_store", "nothing, beside a region or an endpoint", "s3://BUCKET[/PREFIX]")
        return None
    return parse_s3_place(name, region or "", endpoint)


def _days(document: Mapping[str, Any], name: str) -> int | None:
    path = "config.retention"
    table = _typed(document, "retention", dict, {}, "config")
    _refuse_unknown(table, {"receipt_days", "activity_days"}, path)
    days: int | None = _typed(table, name, int, None, path)
    return None if days is None else _bounded(days, 1, MAX_DAYS, f"{path}.{name}")


def _witnesses(path: str | None) -> WitnessPolicy | None:
    """The witnesses of the log, from a C2SP tlog-policy file."""
    if path is None:
        return None
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise Malformed("config.witness_policy", error.strerror or "an unreadable file", "a readable file") from None
    return parse_witness_policy(raw, log_required=False)  # the key of this very log may not exist yet


def _announcement(path: str | None) -> bytes | None:
    """The proof that this release was announced, as its owner hands it out. Verifiers judge it."""
    if path is None:
        return None
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise Malformed("config.announcement", error.strerror or "an unreadable file", "a readable file") from None
    try:
        parse_announcement(raw)
    except Malformed as error:
        raise Malformed(f"config.{error.field}", error.found, error.wanted) from None
    return raw


def _places(key: Connector) -> list[str]:
    """Where a key is found."""
    return [*key.credential_env, *([key.credential_file] if key.credential_file else [])]


def _limits(table: dict[str, Any]) -> Limits:
    _refuse_unknown(table, set(Limits.__slots__), "config.limits")
    values = {name: _typed(table, name, int, 0, "config.limits") for name in table}
    return replace(
        Limits(), **{name: _bounded(value, 1, 1 << 31, f"config.limits.{name}") for name, value in values.items()}
    )


def _sealing(table: dict[str, Any]) -> SealingSettings:
    _refuse_unknown(table, {"kind", "kms_key_arn", "kms_endpoint", "measurement_covers"}, "config.sealing")
    kind = _typed(table, "kind", str, "auto", "config.sealing")
    if kind not in ("auto", "kms", "none"):
        raise Malformed("config.sealing.kind", repr(kind[:32]), "auto, kms or none")
    covers = _typed(table, "measurement_covers", str, None, "config.sealing")
    if covers not in (None, "workload", "firmware"):
        raise Malformed("config.sealing.measurement_covers", repr(covers[:32]), "workload or firmware")
    arn, endpoint = (_typed(table, name, str, None, "config.sealing") for name in ("kms_key_arn", "kms_endpoint"))
    if kind == "kms" and arn is None:
        raise Malformed("config.sealing.kms_key_arn", "nothing", "the ARN of a KMS key, as kind is kms")
    if endpoint is not None and (endpoint != parse_origin(endpoint) or not is_private_channel(endpoint)):
        raise Malformed("config.sealing.kms_endpoint", repr(endpoint[:200]), "https://HOST[:PORT]")
    return SealingSettings(kind, None if arn is None else parse_key_name(arn, endpoint), covers)


def _token_files(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _path(_typed(document, name, str, "", "config")) for name in _TOKEN_FILES}


def _path(configured: str) -> Path | None:
    return Path(configured) if configured else None


def _audience(configured: str, host: str, port: int) -> str:
    """The origin that callers use, exactly as verifiers compare it."""
    if not configured and host in ("0.0.0.0", "::"):
        raise Malformed("config.audience", "nothing, with a wildcard host", "the origin that callers use")
    audience = configured or f"http://{f'[{host}]' if ':' in host else host}:{port}"
    try:
        spelled = parse_origin(audience)
    except Malformed as error:
        raise Malformed("config.audience", error.found, error.wanted) from None
    if audience != spelled:
        raise Malformed("config.audience", repr(audience[:200]), f"{spelled}, an origin and nothing after it")
    return audience


def _number(variable: str, text: str | None, configured: int, most: int, path: str) -> int:
    """The variable's number if it is set, else the configured one."""
    if text is None:
        return _bounded(configured, 1, most, path)
    if not (text.isascii() and text.isdigit()):
        raise Malformed(variable, repr(text[:32]), f"a number, 1 to {most}")
    return _bounded(int(text), 1, most, variable)


def _rows(document: Mapping[str, Any], name: str) -> list[Any]:
    rows: list[Any] = _typed(document, name, list, [], "config")
    if not rows:
        raise Malformed(f"config.{name}", "none", "at least one")
    return rows
