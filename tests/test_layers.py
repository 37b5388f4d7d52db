"""The direction of imports: the table in pyproject.toml, kept by reading every import."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["saferouter"]["layers"]
FILES = sorted(path for room in ("tee", "gateway") for path in (ROOT / room).rglob("*.py"))


def _imports(path: Path) -> Iterator[str]:
    """Every module a file imports, wherever in the file; `from a import b` gives both a and a.b."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _below(path: Path, rooms: list[str]) -> bool:
    name = path.relative_to(ROOT).as_posix()
    return any(name == room or name.startswith(room + "/") for room in rooms)


def _heads(path: Path) -> set[str]:
    return {name.split(".")[0] for name in _imports(path)}


def test_tee_never_imports_the_gateway() -> None:
    assert not [path for path in FILES if _below(path, ["tee"]) and "gateway" in _heads(path)]


def test_pure_rooms_touch_nothing() -> None:
    pure = [path for path in FILES if _below(path, TABLE["pure"])]
    assert len(pure) > 20
    for path in pure:
        assert not _heads(path) & set(TABLE["pure_forbidden"]), path


def test_pure_rooms_import_only_pure_rooms() -> None:
    """No I/O by way of a neighbour either."""
    impure = {_module(path) for path in FILES if not _below(path, TABLE["pure"]) and path.name != "__init__.py"}
    for path in FILES:
        if _below(path, TABLE["pure"]):
            assert not set(_imports(path)) & impure, path


def test_each_edge_library_stays_in_its_room() -> None:
    for library, rooms in TABLE["only_in"].items():
        for path in FILES:
            assert library not in _heads(path) or _below(path, rooms), f"{path} imports {library}"


def test_dialects_and_steps_do_not_import_their_siblings() -> None:
    for group in TABLE["strangers"]:
        names = {name.removesuffix(".py").replace("/", ".") for name in group}
        for name in group:
            imported = set(_imports(ROOT / name)) & names
            assert not imported, f"{name} imports {imported}"


def test_two_dialects_never_import_one_another() -> None:
    """A dialect's files begin with its name."""
    names = TABLE["dialects"]
    prefixes = tuple(f"gateway.dialects.{name}" for name in names)
    for path in (path for path in FILES if _below(path, ["gateway/dialects"])):
        mine = tuple(f"gateway.dialects.{name}" for name in names if path.name.startswith(name))
        foreign = [name for name in _imports(path) if name.startswith(prefixes) and not name.startswith(mine)]
        assert not foreign, f"{path} imports {foreign}"


def test_the_environment_is_read_in_one_place() -> None:
    for path in FILES:
        if "os.environ" in path.read_text() or "getenv" in path.read_text():
            assert _below(path, ["gateway/config.py", "gateway/environment.py", "tee/cli.py"]), path


def test_no_import_circles() -> None:
    modules = {_module(path): path for path in FILES}
    graph = {name: {found for found in _imports(path) if found in modules} for name, path in modules.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for found in graph[name]:
                visit(found, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_rooms_that_stand_alone_reach_none_of_the_others() -> None:
    modules = {_module(path): path for path in FILES}
    for room, forbidden in TABLE["never_reaches"].items():
        waiting = [path for path in FILES if _below(path, [room])]
        assert waiting, room
        seen = set(waiting)
        while waiting:
            path = waiting.pop()
            found = set(_imports(path))
            reached = [name for name in found if any(name == far or name.startswith(far + ".") for far in forbidden)]
            assert not reached, f"{room} reaches {reached} by way of {path}"
            new = {modules[name] for name in found & modules.keys()} - seen
            seen |= new
            waiting += new


def test_files_say_their_purpose_and_stay_small() -> None:
    for path in FILES:
        text = path.read_text()
        assert text.startswith('"""'), f"{path}: the first line is not its purpose"
        assert text.count("\n") <= 450, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 50, f"{path}: {node.name}"


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
