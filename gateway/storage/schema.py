"""The tables: what the database holds (SQLAlchemy Core)."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

SCHEMA = MetaData()
_OPEN = text("receipt IS NULL")
_ROW_ID = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself only for INTEGER

TENANTS = Table(
    "tenants",
    SCHEMA,
    Column("id", String(64), primary_key=True),
    Column("display_name", String(256), nullable=False),
    Column("usd_cap", BigInteger),  # micro-USD; None: no cap
    Column("requests_per_minute", BigInteger),
    Column("tokens_per_minute", BigInteger),
    Column("allowed_policies", Text, nullable=False),  # their ids, a JSON array
    Column("cut_streams", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
# A key outlives its secrets: what it may do, what it used, and the receipts that it may read stay with its id.
API_KEYS = Table(
    "api_keys",
    SCHEMA,
    Column("id", String(40), primary_key=True),
    Column("tenant", String(64), ForeignKey("tenants.id"), nullable=False, index=True),
    Column("name", String(128), nullable=False),
    Column("scopes", String(128), nullable=False),  # in the order of SCOPES, between blanks
    Column("policy", String(64)),
    Column("requests_per_minute", BigInteger),
    Column("tokens_per_minute", BigInteger),
    Column("cut_streams", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("last_used_at", BigInteger),  # to the minute
)
# One row per secret that a key was given: the newest, and those before it, which end by themselves.
KEY_SECRETS = Table(
    "key_secrets",
    SCHEMA,
    Column("sha256", String(64), primary_key=True),
    Column("key_id", String(40), ForeignKey("api_keys.id"), nullable=False, index=True),
    Column("number", Integer, nullable=False),  # from 0 on; the greatest of a key is its newest
    Column("prefix", String(32), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("retires_at", BigInteger),
    UniqueConstraint("key_id", "number"),
)
# One row per keyset: the evidence that lets its receipts be checked for ever.
QUOTES = Table(
    "quotes",
    SCHEMA,
    Column("keyset_digest", String(71), primary_key=True),
    Column("document", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
# One row per call from the moment its caller may learn the receipt's id; `receipt` is null until it is signed.
CALLS = Table(
    "calls",
    SCHEMA,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    Column("receipt_id", String(40), nullable=False, unique=True),
    Column("key_id", String(40), nullable=False, index=True),
    Column("log", Integer, nullable=False),  # of the replica that carries it, which alone can sign its receipt
    Column("draft", Text, nullable=False),
    Column("status", Integer),
    Column("content_type", String(128)),
    Column("sent_bytes", BigInteger, nullable=False, default=0),
    Column("sent_sha256", String(64)),
    Column("sent_events", BigInteger),
    Column("checkpoint", Text),  # the newest that was signed of the stream, JSON; empty if there is none yet
    # What is held for it until it is closed, and of whom: see gateway/storage/ledger.py; null where nothing is.
    Column("tenant", String(64)),
    Column("held_micro_usd", BigInteger),
    Column("held_input_micro_usd", BigInteger),
    Column("held_output_tokens", BigInteger),
    Column("sent_code", String(64)),  # over the six before it, by the gateway itself; `draft` begins with its own
    Column("receipt", Text),
    # Where the log has it: the route if an upstream was chosen, the receipt once it is signed, perhaps an epoch later.
    Column("route_epoch", Integer),
    Column("route_leaf", BigInteger),
    Column("receipt_epoch", Integer),
    Column("receipt_leaf", BigInteger),
    Column("receipt_salt", String(64)),
    # When the receipt was signed; when its texts were removed, and after how many days that was the policy.
    Column("closed_at", BigInteger),
    Column("pruned_at", BigInteger),
    Column("pruned_days", Integer),
    Column("abandoned_at", BigInteger),  # when another replica took the call's own for gone
    Index("calls_to_prune", "pruned_at", "closed_at"),
    Index("calls_open", "log", sqlite_where=_OPEN, postgresql_where=_OPEN),
)
# One row per attempt of a closed call, and one of a call for which nobody was asked: never a word of its content.
ACTIVITY = Table(
    "activity",
    SCHEMA,
    Column("id", _ROW_ID, primary_key=True, autoincrement=False),  # by call and attempt: storage/calls.py
    Column("call_id", _ROW_ID, ForeignKey("calls.id"), nullable=False),
    Column("attempt", Integer, nullable=False),  # from 1 on; 0 where nobody was asked
    Column("shown", Boolean, nullable=False),  # of each call one row, which bears what its caller got and used
    Column("tenant", String(64), nullable=False),
    Column("key_id", String(40), nullable=False, index=True),
    Column("model", String(256)),
    Column("original_model", String(256)),
    Column("policy", String(64)),
    Column("tier", String(16)),
    Column("provider", String(64)),
    Column("status", Integer),  # what the caller got; of a row that is not shown, what the provider answered
    Column("provider_status", Integer),
    Column("failure", String(64)),
    Column("waited_ms", BigInteger, nullable=False),  # from the call's first attempt to this one
    Column("first_token_ms", BigInteger),
    Column("cost_micro_usd", BigInteger),
    Column("findings", Text),  # of the leak scan: JSON of kinds and counts, null for none
    Column("prompt_tokens", BigInteger),
    Column("completion_tokens", BigInteger),
    Column("started_at", BigInteger, nullable=False),
    Column("milliseconds", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger),
    Column("cache_write_tokens", BigInteger),
    Column("cache_write_1h_tokens", BigInteger),
    Column("reasoning_tokens", BigInteger),
    Column("audio_prompt_tokens", BigInteger),
    Column("audio_completion_tokens", BigInteger),
    Column("partial", Boolean, nullable=False),
    Column("skipped", Integer, nullable=False),
    Column("cost_estimated", Boolean, nullable=False),
    Index("activity_of_tenant", "tenant", "started_at", "id"),
)
# One row per call that was drawn for the audit; the document goes when retention says so, the leaf stays.
SAMPLES = Table(
    "samples",
    SCHEMA,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    Column("receipt_id", String(40), nullable=False, unique=True),
    Column("key_id", String(40), nullable=False, index=True),
    Column("document", Text),
    Column("log", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("leaf", BigInteger, nullable=False),
    Column("number", BigInteger, nullable=False),  # among the samples of its epoch, from 0 on
    UniqueConstraint("log", "epoch", "leaf"),
)
# One row per log: every replica has its own, by its own key. Where replicas share a database, all find all of them.
LOGS = Table(
    "logs",
    SCHEMA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("key", String(64), nullable=False, unique=True),  # its public key, hex
    Column("address", Text, nullable=False),  # the origin of its first epoch, had it the address to itself
    Column("seen_at", BigInteger, nullable=False),  # when its replica was known to run
    Column("restored_at", BigInteger),  # the database was put back since this log went on
)
# The log: its leaves in order, and the roots of its complete subtrees of 256, 256², … leaves.
LEAVES = Table(
    "leaves",
    SCHEMA,
    Column("log", Integer, primary_key=True, autoincrement=False),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("leaf", LargeBinary, nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
)
SUBTREES = Table(
    "subtrees",
    SCHEMA,
    Column("log", Integer, primary_key=True, autoincrement=False),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary(32), nullable=False),
)
# How each epoch's log ended at its last commit, under a code that only the log's key can make.
LOG_HEADS = Table(
    "log_heads",
    SCHEMA,
    Column("log", Integer, primary_key=True, autoincrement=False),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary(32), nullable=False),
    Column("prev", LargeBinary(32), nullable=False),
    Column("mac", LargeBinary(32), nullable=False),
)
# Money, in micro-USD. An account's balance is what the entries say that came in less what went out; `reserved` is what
# is held of it for calls that run.
ACCOUNTS = Table(
    "ledger_accounts",
    SCHEMA,
    Column("name", String(96), primary_key=True),
    Column("balance", BigInteger, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    Column("prepaid", Boolean, nullable=False),
)
# The ledger: each row moves a sum from one account to another, and none is ever changed.
ENTRIES = Table(
    "ledger_entries",
    SCHEMA,
    Column("id", _ROW_ID, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("source", String(96), nullable=False),
    Column("target", String(96), nullable=False),
    Column("micro_usd", BigInteger, nullable=False),
    Column("reference", String(64), unique=True),  # the receipt of the call that it pays, or the request of a top-up
    Column("estimated", Boolean, nullable=False),
    Column("note", String(256)),
)
# What each key used of each model: sums that outlive the activity.
USAGE = Table(
    "usage_totals",
    SCHEMA,
    Column("key_id", String(40), primary_key=True),
    Column("model", String(256), primary_key=True),
    Column("tenant", String(64), nullable=False, index=True),
    Column("calls", BigInteger, nullable=False),
    Column("unpriced", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("micro_usd", BigInteger, nullable=False),
)
# The newest checkpoint of each epoch, for the replicas beside it: its key has signed it.
CHECKPOINTS = Table(
    "checkpoints",
    SCHEMA,
    Column("log", Integer, primary_key=True, autoincrement=False),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("note", Text, nullable=False),
)
