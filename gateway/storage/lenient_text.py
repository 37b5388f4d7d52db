"""Text for PostgreSQL, which has no NUL: callers can say one, and it must not cost them or others an error."""

from __future__ import annotations

from typing import Any

from psycopg.types.string import StrDumperUnknown


class LenientText(StrDumperUnknown):
    """Puts U+FFFD in the place of NUL, in what is stored and in what is looked for."""

    def dump(self, obj: str) -> Any:
        """The bytes of the text."""
        return super().dump(obj.replace("\0", "�"))
