"""Content hashes that models declare for the first time: their baselines."""

from __future__ import annotations

from dataclasses import replace

from gateway.config import Config
from gateway.routing.identity import Baselines


def with_first_hashes(config: Config) -> Config:
    """The configuration in which each model that declares a content hash has a baseline: the first one declared."""
    known = config.rules.baselines
    first = {model.id: model.content_hash for model in config.models.models if model.content_hash is not None}
    hashes = {**first, **known.models}
    if hashes == known.models:
        return config
    baselines = Baselines(known.providers, hashes)
    rules = replace(config.rules, baselines=baselines)
    return replace(config, rules=rules, document={**config.document, "baselines": baselines.to_json()})
