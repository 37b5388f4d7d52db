"""Writes the first revision of the tables anew from gateway/storage/schema.py: `.venv/bin/python -m tests.migrations`.

Run it whenever schema.py has changed, as after a merge; tests/test_migrations.py fails until it was. That holds as long
as nothing was released: from then on a revision stays as it is, and each change gets one of its own, r0002_… and so on,
beside it (`alembic.op` as in the first; the name sorts after it, and `down_revision` names it).
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext
from alembic.operations.ops import MigrateOperation, OpContainer, UpgradeOps
from sqlalchemy import create_engine

from gateway.storage.migrate import MIGRATIONS
from gateway.storage.schema import SCHEMA

VERSIONS = MIGRATIONS / "versions"
HEAD = '''"""The tables of the first release. Written by `python -m tests.migrations`: change schema.py, not this."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = None


def upgrade() -> None:
    """Make every table."""
    {calls}

'''


def main() -> None:
    """Replace the revision by that of the tables as they are now."""
    parts = {name: _rendered(ops) for name, ops in _by_table()}
    bodies = "\n\n".join(f"\ndef _{name}() -> None:\n{body}" for name, body in parts.items())
    revision = "r0001_" + hashlib.sha256(bodies.encode()).hexdigest()[:12]
    text = HEAD.format(revision=revision, calls="\n    ".join(f"_{name}()" for name in parts)) + bodies + "\n"
    for old in VERSIONS.glob("r*.py"):
        old.unlink()
    path = VERSIONS / f"{revision}.py"
    path.write_text(text)
    ruff = Path(sys.executable).with_name("ruff")
    subprocess.run([ruff, "format", "--quiet", path], check=True)
    print(f"{path.name}: {len(parts)} tables")


def _rendered(steps: list[MigrateOperation]) -> str:
    lines = render_python_code(UpgradeOps(steps)).splitlines()
    return textwrap.indent(textwrap.dedent("\n".join(line for line in lines if line.strip()[:1] != "#")), "    ")


def _by_table() -> Iterator[tuple[str, list[MigrateOperation]]]:
    """What makes each table, with its indexes."""
    with create_engine("sqlite://").connect() as connection:
        made = produce_migrations(MigrationContext.configure(connection), SCHEMA).upgrade_ops
    assert made is not None
    found: dict[str, list[MigrateOperation]] = {}
    for each in made.ops:
        inner = each.ops if isinstance(each, OpContainer) else [each]
        for step in inner:
            found.setdefault(step.table_name, []).append(step)  # type: ignore[attr-defined]
    yield from found.items()


if __name__ == "__main__":
    main()
