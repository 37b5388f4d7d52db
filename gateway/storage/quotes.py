"""The evidence of every keyset that ever signed a receipt."""

from __future__ import annotations

from sqlalchemy import Engine, insert, select
from sqlalchemy.exc import DatabaseError

from gateway.storage.faults import unusable
from gateway.storage.schema import QUOTES


def add_quote(engine: Engine, keyset_digest: str, document: str, created_at: int) -> None:
    """Store a keyset's quote, before the keyset signs anything. Raises Unavailable.

    One that is stored stays: a configuration that comes back within a second makes the keyset that it made before.
    """
    row = {"keyset_digest": keyset_digest, "document": document, "created_at": created_at}
    known = select(QUOTES.c.keyset_digest).where(QUOTES.c.keyset_digest == keyset_digest)
    try:
        with engine.begin() as connection:
            if connection.execute(known).first() is None:
                connection.execute(insert(QUOTES).values(row))
    except DatabaseError as error:
        raise unusable(engine, error) from None


def find_quote(engine: Engine, keyset_digest: str) -> str | None:
    """The stored quote of that keyset, JSON, or None."""
    with engine.connect() as connection:
        query = select(QUOTES.c.document).where(QUOTES.c.keyset_digest == keyset_digest)
        document: str | None = connection.execute(query).scalar_one_or_none()
    return document
