"""Write gateway/models/catalog/models_generated.json: a build step, run by hand, never in a guest.

    python -m venv /tmp/catalog && /tmp/catalog/bin/pip install genai-prices==0.2.3
    npm pack @earendil-works/pi-ai@1.5.2
    /tmp/catalog/bin/python deploy/catalog/generate.py earendil-works-pi-ai-1.5.2.tgz

Models, wire languages, limits and abilities come from the npm package pi-ai, prices from the price library
genai-prices, and where that knows none from pi-ai. Both are MIT; their notice stands in the file. A price that neither
knows is null, never 0. The rule for what is taken: the chat models of the 24 providers named below, all of them.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tarfile
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from genai_prices.data import providers as price_lists

TARGET = Path(__file__).resolve().parents[2] / "gateway/models/catalog/models_generated.json"
DATA = "package/dist/providers/data/"
# Each provider of the catalog, and where the price library keeps its prices.
PROVIDERS = {
    "amazon-bedrock": "aws",
    "anthropic": "anthropic",
    "azure": "azure",
    "cerebras": "cerebras",
    "deepseek": "deepseek",
    "fireworks": "fireworks",
    "github-copilot": "github-copilot",
    "google": "google",
    "google-vertex": "google",
    "groq": "groq",
    "kimi-coding": None,
    "minimax": "minimax",
    "minimax-cn": "minimax",
    "mistral": "mistral",
    "moonshotai": "moonshotai",
    "nvidia": None,
    "openai": "openai",
    "openai-codex": None,
    "opencode": None,
    "openrouter": "openrouter",
    "together": "together",
    "vercel-ai-gateway": None,
    "xai": "x-ai",
    "zai": "zai",
}
PRICES = {"input": "input_mtok", "output": "output_mtok", "cacheRead": "cache_read_mtok",
          "cacheWrite": "cache_write_mtok"}  # fmt: skip
NOTICE = """\
genai-prices: Copyright (c) Pydantic Services Inc. 2025 to present
pi-ai: Copyright (c) Mario Zechner

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated \
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the \
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit \
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the \
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE \
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR \
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR \
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE."""


def main(tarball: Path) -> None:
    """Read the package, look up the prices, write the file."""
    with tarfile.open(tarball) as package:
        moment = datetime.fromisoformat(_read(package, DATA + ".manifest.json")["generatedAt"])
        models_version = _read(package, "package/package.json")["version"]
        catalog = {name: _records(_read(package, f"{DATA}{name}.json"), name, moment) for name in sorted(PROVIDERS)}
    count = sum(len(rows) for rows in catalog.values())
    manifest = {
        "snapshot": moment.date().isoformat(),
        "models": f"@earendil-works/pi-ai {models_version} (MIT)",
        "models_sha256": hashlib.sha256(tarball.read_bytes()).hexdigest(),
        "prices": f"genai-prices {version('genai-prices')} (MIT), and where it knows none pi-ai",
        "providers": len(catalog),
        "records": count,
        "unit": "US dollars per million tokens; null: unknown",
        "notice": NOTICE,
    }
    TARGET.write_text(_layout(manifest, catalog), encoding="utf-8")
    print(f"{TARGET.name}: {len(catalog)} providers, {count} records, {TARGET.stat().st_size} bytes")


def _read(package: tarfile.TarFile, name: str) -> Any:
    member = package.extractfile(name)
    if member is None:
        raise SystemExit(f"{name}: not in the package")
    return json.load(member)


def _records(by_api: dict[str, dict[str, Any]], provider: str, moment: datetime) -> dict[str, Any]:
    """The chat models of one provider by id; of an id in two wire languages the first counts."""
    found: dict[str, Any] = {}
    for rows in by_api.values():
        for row in rows.values():
            if row["type"] == "chat":
                found.setdefault(row["id"], _record(row, provider, moment))
    return dict(sorted(found.items()))


def _record(row: dict[str, Any], provider: str, moment: datetime) -> dict[str, Any]:
    names = ("name", "api", "baseUrl", "reasoning", "input", "contextWindow", "maxTokens")
    return {name: row[name] for name in names if row.get(name) not in (None, "")} | {
        "cost": _library_prices(row["id"], PROVIDERS[provider], moment) or _own_prices(row)
    }


def _library_prices(model_id: str, list_id: str | None, moment: datetime) -> dict[str, float] | None:
    """What the price library says for that moment; of prices that rise with length the first step."""
    prices = next((each for each in price_lists if each.id == list_id), None)
    model = prices.find_model(model_id) if prices is not None else None
    if model is None:
        return None
    known = model.get_prices(moment)
    found = {}
    for ours, theirs in PRICES.items():
        price = getattr(known, theirs, None)
        if price is not None:
            found[ours] = float(getattr(price, "base", price))
    return found if {"input", "output"} <= found.keys() else None


def _own_prices(row: dict[str, Any]) -> dict[str, float]:
    """What pi-ai says. It writes 0 for what it does not know; only a model that is called free is free."""
    cost = row.get("cost", {})
    free = row["id"].endswith(":free")
    return {name: cost[name] for name in PRICES if cost.get(name) or (free and name in ("input", "output"))}


def _layout(manifest: dict[str, Any], catalog: dict[str, dict[str, Any]]) -> str:
    """JSON with one line for each record, so that two snapshots can be compared."""
    rows = []
    for provider, records in catalog.items():
        lines = [f"{json.dumps(name)}:{json.dumps(each, separators=(',', ':'))}" for name, each in records.items()]
        rows.append(f"{json.dumps(provider)}:{{\n" + ",\n".join(lines) + "\n}")
    return f'{{"manifest":{json.dumps(manifest, indent=1)},\n"providers":{{\n' + ",\n".join(rows) + "\n}}\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
