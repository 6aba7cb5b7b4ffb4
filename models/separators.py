"""The catalogue of separation models, `configs/separators.yaml`: many entries that share their sources and purposes, in
a form that can be read at a glance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SDR_FROM = (
    "medians over the ten songs of MUSDB18's training part that all models in audio-separator's list were scored on"
)


def separators(told: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What YAML of that form tells, as entries for `understudy.models.catalogue.Model` by name. Raises `KeyError` or
    `TypeError` where it isn't of that form."""
    groups, sources = told["groups"], told["sources"]
    return {
        name: _entry(name, entry, group, groups[group], sources)
        for group, entries in told.items()
        if group not in ("groups", "sources")
        for name, entry in (entries or {}).items()
    }


def _entry(
    name: str, entry: Mapping[str, Any], group: str, common: Mapping[str, Any], sources: Mapping[str, Any]
) -> dict[str, Any]:
    source = sources[entry["from"]]
    beside = entry.get("with", ())
    companions = [{"file": beside}] if isinstance(beside, str) else list(beside)
    companion_source = sources[entry.get("with_from", entry["from"])]
    variant = {
        **_file(entry, source),
        "format": entry["family"],
        "companions": [_file(companion, companion_source) for companion in companions],
    }
    found = {
        "name": name,
        "group": group,
        "purpose": common["purpose"],
        "architecture": entry["family"],
        "licence": entry.get("licence", source["licence"]),
        "page": source["page"],
        "stems": entry.get("stems", common["stems"]),
        "variants": [variant],
        **{key: entry[key] for key in ("by", "note", "aliases", "sdr", "sdr_from") if key in entry},
    }
    if found.get("sdr"):
        found.setdefault("sdr_from", SDR_FROM)
    return found


def _file(told: Mapping[str, Any], source: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("file", "known_as", "size", "sha256", "sha256_starts", "sha256_from")
    return {
        **{key: told[key] for key in keys if key in told},
        "url": source["files"] + (told.get("known_as") or told["file"]),
    }
