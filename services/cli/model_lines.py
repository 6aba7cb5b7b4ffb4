"""Models as lines of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape

MARKS = {"installed": "[green]✓[/]", "absent": "·", "unusable": "[red]✗[/]"}
HEADINGS = {
    "voices": "Voices",
    "pitch": "Pitch",
    "vocals": "Vocals and instrumental, made for the vocals",
    "instrumental": "Vocals and instrumental, made for the instrumental",
    "karaoke": "Lead and backing vocals",
    "dereverb": "Reverb and echo",
    "denoise": "Noise",
    "stems": "Four stems and more",
    "drums": "Pieces of a drum kit",
    "special": "One thing out of all else",
}
"""What stands over the models of a group; those of other groups come last."""
_NAME = 42
_SHORT = {"vocals": "voc", "instrumental": "inst"}


def listing(found: list[dict[str, Any]], yours: list[dict[str, Any]]) -> str:
    """All models by group, one line each, then the user's own files."""
    lines = []
    groups = [*HEADINGS, *dict.fromkeys(str(model["group"]) for model in found if model["group"] not in HEADINGS)]
    for group in groups:
        members = [model for model in found if str(model["group"]) == group]
        if members:
            heading = HEADINGS.get(group, "Others")
            word = f"  [dim]--purpose {group}[/]" if group in HEADINGS else ""
            lines += ["", f"[bold]{heading}[/]{word}", *map(_row, members)]
    if yours:
        lines += ["", "[bold]Yours[/]", *map(_own_row, yours)]
    if any(model["state"] == "absent" for model in found):
        lines += ["", "· not installed: understudy models fetch NAME"]
    if any(model["sdr"] for model in found):
        lines.append("SDR: dB as published; 'understudy models show NAME' says on which songs.")
    return "\n".join(lines).strip("\n")


def details(found: Mapping[str, Any]) -> str:
    """All that is known of a model, its files and their hashes."""
    lines = [_heading(found), f"    {size(found['size'])}; {escape(found['licence'])}; {escape(found['page'])}"]
    if found["by"]:
        lines.append(f"    by {escape(found['by'])}")
    if found["note"]:
        lines.append(f"    {escape(found['note'])}")
    if found["stems"]:
        lines.append(f"    stems: {', '.join(found['stems'])}")
    if found["sdr"]:
        figures = ", ".join(f"{stem} {value:.1f} dB" for stem, value in found["sdr"].items())
        lines.append(f"    SDR: {figures}" + (f" ({escape(found['sdr_from'])})" if found["sdr_from"] else ""))
    if found["aliases"]:
        lines.append(f"    also called {escape(', '.join(found['aliases']))}")
    match found["state"]:
        case "installed":
            lines.append(f"    installed: {escape(found['installed']['path'])}")
        case "unusable":
            lines.append(f"    [red]{escape(found['error']['message'])}[/] {escape(found['error']['hint'])}")
        case _:
            lines.append(f"    not installed: understudy models fetch {found['name']}")
    lines.append("Its files:" if len(found["variants"]) == 1 else "Any one of these is the model:")
    for variant in found["variants"]:
        for file in (variant, *variant["companions"]):
            lines += _file(file, variant["format"])
    return "\n".join(lines)


def size(count: int | None) -> str:
    return "size unknown" if count is None else f"{count / 1e6:,.0f} MB" if count >= 5e5 else f"{count:,} bytes"


def _heading(found: Mapping[str, Any]) -> str:
    return f"{MARKS[found['state']]} [bold]{found['name']}[/]  {escape(found['purpose'])}"


def _row(found: Mapping[str, Any]) -> str:
    known = size(found["size"]) if found["size"] else ""
    sdr = " ".join(f"{_SHORT.get(stem, stem)} {value:.1f}" for stem, value in found["sdr"].items())
    about = escape(
        " ".join(filter(None, (found["by"] and f"by {found['by']}", found["note"] and f"({found['note']})")))
    )
    if found["group"] not in HEADINGS or found["group"] in ("voices", "pitch"):
        about = escape(found["purpose"])
    if found["state"] == "unusable":
        about = f"[red]{escape(found['error']['message'])}[/]"
    return f"{MARKS[found['state']]} {found['name']:<{_NAME}} {known:>8}  {sdr:<19}  {about}".rstrip()


def _own_row(found: Mapping[str, Any]) -> str:
    family = found["family"] or "its family is told when it is used"
    return f"{MARKS['installed']} {escape(found['file']):<{_NAME}} {size(found['size']):>8}  {'':<19}  {family}"


def _file(file: Mapping[str, Any], form: str) -> list[str]:
    length = "size unknown" if file["size"] is None else f"{file['size']:,} bytes"
    known = f", published as {file['known_as']}" if file["known_as"] else ""
    origin = f" (from {file['sha256_from']})" if file["sha256_from"] else ""
    hashed = "no hash is known for sure"
    if file["sha256"]:
        hashed = f"SHA-256 {file['sha256']}{escape(origin)}"
    elif file["sha256_starts"]:
        hashed = f"of its SHA-256 only the beginning is known: {file['sha256_starts']}"
    return [
        f"  {escape(file['file'])}{escape(known)} ({escape(form)}), {length}",
        f"    {hashed}",
        f"    {escape(file['url'])}" if file["url"] else "    published at no fixed address",
    ]
