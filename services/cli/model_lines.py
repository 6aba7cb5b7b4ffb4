"""Models as JSON and as lines of text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from understudy.errors import UnderstudyError

if TYPE_CHECKING:
    from understudy.models.catalogue import File, Model, Variant
    from understudy.models.installed import Record

MARKS = {"installed": "[green]✓[/]", "absent": "·", "unusable": "[red]✗[/]"}
HEADINGS = {
    "voices": "Voices",
    "pitch": "Pitch",
    "training": "Training of RVC voices",
    "vocals": "Vocals and instrumental, made for the vocals",
    "instrumental": "Vocals and instrumental, made for the instrumental",
    "karaoke": "Lead and backing vocals",
    "dereverb": "Reverb and echo",
    "denoise": "Noise",
    "stems": "Four stems and more",
    "drums": "Pieces of a drum kit",
    "special": "One thing out of all else",
}
"""The headings of the groups; models of other groups come last."""
_NAME = 42
_SHORT = {"vocals": "voc", "instrumental": "inst"}


@dataclass(frozen=True)
class ListedModel:
    """A model of the catalogue on this machine. `record`: its files, None where it isn't installed; `error`: why an
    installed one can't be used."""

    model: Model
    record: Record | None
    error: UnderstudyError | None

    @classmethod
    def of(cls, model: Model) -> ListedModel:
        from understudy.models.installed import find_record, installed

        try:
            return cls(model, find_record(model) if installed(model.name) else None, None)
        except UnderstudyError as error:
            return cls(model, None, error)

    @property
    def state(self) -> str:
        return "unusable" if self.error else "installed" if self.record else "absent"

    def to_dict(self) -> dict[str, Any]:
        model, error = self.model, self.error
        return {
            **model.model_dump(mode="json", exclude={"without"}),
            "size": model.preferred.whole,
            "url": model.preferred.url,
            "state": self.state,
            **({"error": {"code": error.code, "message": error.message, "hint": error.hint}} if error else {}),
            **({"installed": record_dict(self.record)} if self.record else {}),
        }


@dataclass(frozen=True)
class OwnFile:
    """A separation model that the user put into the models folder. `size` in bytes; `family` and `sha256` are None
    until the file has been read."""

    file: str
    path: str
    size: int
    family: str | None
    sha256: str | None

    @classmethod
    def of(cls, path: Path) -> OwnFile:
        from understudy.models.hashes import remembered
        from understudy.pipeline.separation.recognition import family_at_a_glance

        note = remembered(path)
        family = family_at_a_glance(path)
        return cls(path.name, str(path), path.stat().st_size, family, note.sha256 if note else None)


def record_dict(record: Record) -> dict[str, Any]:
    return {**record.model_dump(mode="json"), "path": str(weights_path(record))}


def weights_path(record: Record) -> Path:
    from understudy.models.hashes import models_folder

    return models_folder() / record.weights.path


def listing(found: list[ListedModel], own: list[OwnFile]) -> str:
    """All models by group, one line each, then the user's own files."""
    lines = []
    groups = [*HEADINGS, *dict.fromkeys(str(one.model.group) for one in found if one.model.group not in HEADINGS)]
    for group in groups:
        members = [one for one in found if str(one.model.group) == group]
        if members:
            heading = HEADINGS.get(group, "Others")
            word = f"  [dim]--purpose {group}[/]" if group in HEADINGS else ""
            lines += ["", f"[bold]{heading}[/]{word}", *map(_row, members)]
    if own:
        lines += ["", "[bold]Yours[/]", *map(_own_row, own)]
    if any(one.state == "absent" for one in found):
        lines += ["", "· not installed: understudy models fetch NAME"]
    if any(one.model.sdr for one in found):
        lines.append("SDR: dB as published; 'understudy models show NAME' says on which songs.")
    return "\n".join(lines).strip("\n")


def details(found: ListedModel) -> str:
    """All that is known of a model, its files and their hashes."""
    model = found.model
    about = (size(model.preferred.whole), escape(model.licence), escape(model.page or ""))
    lines = [_heading(found), f"    {'; '.join(filter(None, about))}"]
    if model.by:
        lines.append(f"    by {escape(model.by)}")
    if model.note:
        lines.append(f"    {escape(model.note)}")
    if model.stems:
        lines.append(f"    stems: {', '.join(model.stems)}")
    if model.sdr:
        figures = ", ".join(f"{stem} {value:.1f} dB" for stem, value in model.sdr.items())
        lines.append(f"    SDR: {figures}" + (f" ({escape(model.sdr_from)})" if model.sdr_from else ""))
    if model.aliases:
        lines.append(f"    also called {escape(', '.join(model.aliases))}")
    if found.error:
        lines.append(f"    [red]{escape(found.error.message)}[/] {escape(found.error.hint)}")
    elif found.record:
        lines.append(f"    installed: {escape(str(weights_path(found.record)))}")
    else:
        lines.append(f"    not installed: understudy models fetch {model.name}")
    lines.append("Its files:" if len(model.variants) == 1 else "Any one of these is the model:")
    for variant in model.variants:
        for file in (variant, *variant.companions):
            lines += _file(file, variant)
    return "\n".join(lines)


def size(count: int | None) -> str:
    return "size unknown" if count is None else f"{count / 1e6:,.0f} MB" if count >= 5e5 else f"{count:,} bytes"


def _heading(found: ListedModel) -> str:
    return f"{MARKS[found.state]} [bold]{found.model.name}[/]  {escape(found.model.purpose)}"


def _row(found: ListedModel) -> str:
    model = found.model
    known = size(model.preferred.whole) if model.preferred.whole else ""
    sdr = " ".join(f"{_SHORT.get(stem, stem)} {value:.1f}" for stem, value in model.sdr.items())
    about = escape(" ".join(filter(None, (model.by and f"by {model.by}", model.note and f"({model.note})"))))
    if model.group not in HEADINGS or model.group in ("voices", "pitch", "training"):
        about = escape(model.purpose)
    if found.error:
        about = f"[red]{escape(found.error.message)}[/]"
    return f"{MARKS[found.state]} {model.name:<{_NAME}} {known:>8}  {sdr:<19}  {about}".rstrip()


def _own_row(found: OwnFile) -> str:
    family = found.family or "its family is recognised when it is used"
    return f"{MARKS['installed']} {escape(found.file):<{_NAME}} {size(found.size):>8}  {'':<19}  {family}"


def _file(file: File, variant: Variant) -> list[str]:
    length = "size unknown" if file.size is None else f"{file.size:,} bytes"
    known = f", published as {file.known_as}" if file.known_as else ""
    origin = f" (from {file.sha256_from})" if file.sha256_from else ""
    hashed = "no hash is known for sure"
    if file.sha256:
        hashed = f"SHA-256 {file.sha256}{escape(origin)}"
    elif file.sha256_starts:
        hashed = f"of its SHA-256 only the beginning is known: {file.sha256_starts}"
    return [
        f"  {escape(file.file)}{escape(known)} ({escape(variant.format)}), {length}",
        f"    {hashed}",
        f"    {escape(file.url)}" if file.url else "    published at no fixed address",
    ]
