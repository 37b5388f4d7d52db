"""Build dist/verifier.html: the whole verifier page in one file that works from file://, the same bytes every time."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKS = HERE.parent / "tee" / "checks.json"
TCB_DATA = HERE.parent / "tee" / "tcb.json"
ENTRY = "page.js"

IMPORT = re.compile(r'^import\s*(\{[^}]*\}|\*\s+as\s+\w+)\s*from\s*"\./([a-z]+\.js)";[ \t]*\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?function\b|class\b|const\b)", re.MULTILINE)
EXPORTED = re.compile(r"^export (?:async function|function|class|const)\*? +([A-Za-z_$][\w$]*)", re.MULTILINE)
LEFT_OVER = re.compile(r"^\s*(?:import|export)\b.*|\bimport(?:\s*\(|\.meta).*", re.MULTILINE)
COMMENT = re.compile(r"/\*.*?\*/|^\s*//[^\n]*", re.DOTALL | re.MULTILINE)


class BuildError(Exception):
    """A source that this small bundler does not understand, or a page that would not be safe to inline."""


def encode_checks(checks: Path = CHECKS) -> str:
    """The text of src/checks.js: the rows of tee/checks.json as a module."""
    rows = json.loads(checks.read_text(encoding="utf-8"))
    lines = "".join(f"  {json.dumps(row, ensure_ascii=False)},\n" for row in rows)
    purpose = "// The checks: id, title, question, what each does not prove. Made by build.py from tee/checks.json."
    return f"{purpose}\n\nexport const CHECKS = [\n{lines}];\n"


def encode_tcb_data(data: Path = TCB_DATA) -> str:
    """The text of src/tcb.js: tee/tcb.json as a module."""
    document = json.loads(data.read_text(encoding="utf-8"))
    purpose = "// AMD's bulletins and what each asks of a report (SPEC §13). Made by build.py from tee/tcb.json."
    return f"{purpose}\n\nexport const TCB_DATA = {json.dumps(document, indent=2, ensure_ascii=False)};\n"


def bundle(folder: Path, entry: str = ENTRY) -> str:
    """All modules that `entry` imports, as one script.

    Each module becomes a function that returns its exports, in the order in which they are needed, so that names
    stay private to their module. Only `import {…}`, `import * as` and `export` of a declaration, each at the top
    level, are understood. Raises BuildError.
    """
    order: list[str] = []
    _visit(folder, entry, order, ())
    return '"use strict";\n' + "\n".join(_wrap(folder, name) for name in order)


def build(folder: Path = HERE) -> bytes:
    """The self-contained page: style and script inlined, and allowed by their hashes only. Raises BuildError."""
    style = "\n" + (folder / "style.css").read_text(encoding="utf-8")
    script = "\n" + bundle(folder / "src")
    for name, text, end in (("style", style, "</style"), ("script", script, "</script")):
        if end in text.lower() or "<!--" in text:
            raise BuildError(f"{name}: text that would end its element early")
    page = (folder / "index.html").read_text(encoding="utf-8")
    page = _replace(page, '<link rel="stylesheet" href="style.css">', f"<style>{style}</style>")
    page = _replace(page, '<script type="module" src="src/page.js">', f'<script type="module">{script}')
    page = _replace(page, "script-src 'self'", f"script-src '{_csp_hash(script)}'")
    page = _replace(page, "style-src 'self'", f"style-src '{_csp_hash(style)}'")
    return page.encode("utf-8")


def main() -> None:
    """Renew src/checks.js and src/tcb.js, write dist/verifier.html and print its SHA-256."""
    (HERE / "src" / "checks.js").write_text(encode_checks(), encoding="utf-8")
    (HERE / "src" / "tcb.js").write_text(encode_tcb_data(), encoding="utf-8")
    page = build()
    target = HERE.parent / "dist" / "verifier.html"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(page)
    print(f"{hashlib.sha256(page).hexdigest()}  dist/verifier.html")


def _visit(folder: Path, name: str, order: list[str], above: tuple[str, ...]) -> None:
    if name in above:
        raise BuildError(f"{name}: imports itself through {' > '.join(above)}")
    if name in order:
        return
    for _, imported in IMPORT.findall((folder / name).read_text(encoding="utf-8")):
        _visit(folder, imported, order, (*above, name))
    order.append(name)


def _wrap(folder: Path, name: str) -> str:
    """One module as `const $name = (() => { … return { exports }; })();`."""
    source = (folder / name).read_text(encoding="utf-8")
    exported = EXPORTED.findall(source)
    for names, origin in IMPORT.findall(source):
        offered = EXPORTED.findall((folder / origin).read_text(encoding="utf-8"))
        if missing := [part for part, _ in _names(names) if part not in offered]:
            raise BuildError(f"{name}: {origin} does not export {', '.join(missing)}")
    body = EXPORT.sub("", IMPORT.sub(_import_line, source))
    if left := LEFT_OVER.search(COMMENT.sub("", body)):
        raise BuildError(f"{name}: {left.group().strip()[:80]!r} is no import or export that this bundler knows")
    return f"const {_variable(name)} = (() => {{\n{body}return {{ {', '.join(exported)} }};\n}})();\n"


def _import_line(match: re.Match[str]) -> str:
    clause, origin = match.groups()
    if clause.startswith("*"):
        return f"const {clause.split()[-1]} = {_variable(origin)};\n"
    renamed = ", ".join(name if name == local else f"{name}: {local}" for name, local in _names(clause))
    return f"const {{ {renamed} }} = {_variable(origin)};\n"


def _names(clause: str) -> list[tuple[str, str]]:
    """The (exported, local) names of an import's `{…}`; a namespace names none."""
    parts = [part.split() for part in clause.strip("{}").split(",") if part.strip() and not clause.startswith("*")]
    return [(part[0], part[-1]) for part in parts]


def _variable(name: str) -> str:
    return "$" + name.removesuffix(".js")


def _replace(page: str, old: str, new: str) -> str:
    if page.count(old) != 1:
        raise BuildError(f"index.html: {page.count(old)} times {old!r}, wanted once")
    return page.replace(old, new)


def _csp_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


if __name__ == "__main__":
    main()
