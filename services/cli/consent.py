"""``understudy voices consent``: what the consent for a voice rests on, and the log of all decisions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from understudy.context import scratch_context
from understudy.disk import reading, replacing
from understudy.services.cli.console import cancellable, print_result
from understudy.services.cli.options import OUTPUT, Options, with_options
from understudy.wording import counted

if TYPE_CHECKING:
    from understudy.voices.voice import Manifest, Voice

consent_app = typer.Typer(help="The consent for a voice: prove it, limit it, revoke it.", no_args_is_help=True)

blocklist_app = typer.Typer(help="Voice prints of people who don't want to be cloned.", no_args_is_help=True)

NAME = Annotated[str, typer.Argument(help="The voice's name.")]


@consent_app.command()
@with_options("voices", OUTPUT)
def challenge(name: NAME, *, options: Options) -> None:
    """Make up a phrase that the voice's owner reads aloud, within ten minutes; 'consent verify' takes the recording."""
    from understudy.voices.consent import challenge

    made = challenge.make(options.voices, name).details
    data = {"voice": name, **made}
    print_result(data, lambda: f"[bold]{made['phrase']}[/]\nuntil {made['expires'][11:16]} UTC")


@consent_app.command()
@with_options("voices", OUTPUT)
def verify(
    name: NAME,
    recording: Annotated[Path, typer.Argument(help="The owner of the voice, reading the phrase aloud.")],
    *,
    options: Options,
) -> None:
    """Check the recording of a phrase: right words, same speaker, spoken now. It can answer the phrase once."""
    from understudy.voices.consent import challenge

    with cancellable() as cancelled, scratch_context(cancel=cancelled) as context:
        voice = challenge.answer(options.voices, name, recording, context)
    _print_voice(voice)


@consent_app.command()
@with_options("voices", OUTPUT)
def show(name: NAME, *, options: Options) -> None:
    """Show what the consent for a voice rests on, and the identity that a consent file names."""
    _print_voice(options.library.describe(name))


@consent_app.command()
@with_options(OUTPUT)
def key(path: Annotated[Path, typer.Argument(metavar="FILE", help="Where to put the key; keep it secret.")]) -> None:
    """For the owner of a voice: make a key to sign consent files with. Others need its fingerprint."""
    from understudy.voices.consent.delegation import OwnerKey

    fingerprint = OwnerKey(path).make()
    print_result({"key": str(path), "fingerprint": fingerprint}, lambda: f"fingerprint: [bold]{fingerprint}[/]")


@consent_app.command()
@with_options("overwrite", OUTPUT)
def sign(
    identity: Annotated[str, typer.Argument(help="The voice's identity, as 'consent show' prints it.")],
    key: Annotated[Path, typer.Option(help="The owner's key, made with 'consent key'.")],
    until: Annotated[datetime, typer.Option(help="The last day, UTC.", formats=["%Y-%m-%d"])],
    uses: Annotated[str, typer.Option(help="What is allowed: cover, convert, train, blend, export; joined by commas.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The consent file.")] = Path("consent.json"),
    *,
    options: Options,
) -> None:
    """For the owner of a voice: sign a consent file that allows these uses until a day."""
    from understudy.pipeline.publish import check_replaceable
    from understudy.voices.consent.delegation import OwnerKey

    expires = until.replace(tzinfo=UTC) + timedelta(days=1)
    wanted: Any = tuple(use.strip() for use in uses.split(",") if use.strip())
    data = OwnerKey(key).sign(identity, wanted, expires)
    check_replaceable(output, options.overwrite)
    with replacing(output) as part:
        part.write_bytes(data)
    print_result({"output": str(output), "uses": wanted, "expires": expires}, lambda: f"[bold]{escape(str(output))}[/]")


@consent_app.command()
@with_options("voices", OUTPUT)
def delegate(
    name: NAME,
    file: Annotated[Path, typer.Argument(help="The consent file that the owner has signed.")],
    owner: Annotated[str, typer.Option(help="The fingerprint of the owner's key, from the owner.")],
    *,
    options: Options,
) -> None:
    """Use a voice as its owner allows it in a signed consent file."""
    from understudy.voices.consent import delegation
    from understudy.voices.library import decide

    with reading(file), file.open("rb") as opened:
        data = opened.read(delegation.LARGEST + 1)
    identity = options.library.describe(name).manifest.identity
    given = delegation.read(data, identity, owner)
    _print_voice(decide(options.voices, name, identity, "delegated", given.details))


@consent_app.command()
@with_options("voices cache", OUTPUT)
def revoke(
    name: NAME, reason: Annotated[str, typer.Option(help="Why; stands in the log.")] = "", *, options: Options
) -> None:
    """Withdraw the consent for a voice, for good: its recordings, its model, and what was made with them in the cache
    are deleted."""
    ended = options.library.revoke(name, reason, cache=options.cache)
    print_result({"revoked": list(ended)}, lambda: f"Revoked: {escape(', '.join(ended))}. Nothing can be made with it.")


@consent_app.command()
@with_options("overwrite voices", OUTPUT)
def log(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the log to this file.")] = None,
    check: Annotated[Path | None, typer.Option(help="Check this exported log, not the library's.")] = None,
    *,
    options: Options,
) -> None:
    """Check the consent log, and show or export it: one JSON object per line, each with the hash of the line before.

    A log from which the last lines were cut off looks right: compare the hash of its last entry with one from
    elsewhere."""
    from understudy.pipeline.publish import check_replaceable
    from understudy.voices.consent.log import ConsentLog, parse

    if check is not None:
        with reading(check):
            entries = parse(check.read_text("utf-8", "replace").splitlines(), str(check))
    else:
        entries = ConsentLog(options.voices).read()
    if output is not None:
        check_replaceable(output, options.overwrite)
        with replacing(output) as part:
            part.write_text("".join(f"{entry.line}\n" for entry in entries), "utf-8")
    last = entries[-1].hash if entries else None
    data = {"entries": [{**vars(entry)} for entry in entries], "last": last, "output": output and str(output)}
    lines = [f"{entry.number}  {entry.at[:19]}  {escape(entry.voice)}  {entry.decision}" for entry in entries]
    ending = f"{counted(len(entries), 'entry', 'entries')}, nothing changed; last: {last}"
    print_result(data, lambda: "\n".join([*lines, ending]))


@blocklist_app.command()
@with_options(OUTPUT)
def add(
    recordings: Annotated[list[Path], typer.Argument(help="Recordings of the person alone; the more, the better.")],
) -> None:
    """Put somebody on the blocklist. Only a voice print of the recordings is kept."""
    from understudy.voices import blocklist
    from understudy.voices import recordings as checks

    with cancellable() as cancelled, scratch_context(cancel=cancelled) as context:
        made = blocklist.add(checks.embeddings(context, recordings, context.folder))
    print_result({"id": made.id}, lambda: f"Entry [bold]{made.id}[/].")


@blocklist_app.command("list")
@with_options(OUTPUT)
def list_() -> None:
    """List the entries of the blocklist."""
    from understudy.voices import blocklist

    found = blocklist.prints()
    data = {"file": str(blocklist.blocklist_file()), "entries": [{"id": one.id, "added": one.added} for one in found]}
    print_result(data, lambda: "\n".join(f"{one.id}  {one.added[:10]}" for one in found) or "Nobody is on the list.")


@blocklist_app.command()
@with_options(OUTPUT)
def remove(id: Annotated[str, typer.Argument(help="The entry, as 'blocklist list' shows it.")]) -> None:
    """Take somebody off the blocklist."""
    from understudy.voices import blocklist

    blocklist.remove(id)
    print_result({"removed": id}, lambda: f"Removed {escape(id)}.")


def consent_line(manifest: Manifest) -> str:
    """Who agreed, and what that rests on: ``self, verified on 2026-11-30``."""
    record = manifest.consent_record
    if record is None or record.level == "stated":
        return f"{manifest.consent}, stated"
    line = f"{manifest.consent}, {record.level} on {record.date:%Y-%m-%d}"
    if record.level == "delegated":
        line += f" for {', '.join(record.uses)}" + (
            f" until {record.expires:%Y-%m-%d %H:%M} UTC" if record.expires else ""
        )
    return line


def _print_voice(voice: Voice) -> None:
    manifest = voice.manifest
    record = None if manifest.consent_record is None else manifest.consent_record.model_dump(mode="json")
    data: dict[str, Any] = {"voice": voice.name, "identity": manifest.identity, "consent": manifest.consent}
    data |= {"consent_level": manifest.consent_level, "consent_record": record}
    text = f"[bold]{escape(voice.name)}[/]  consent: {consent_line(manifest)}\nidentity: {manifest.identity}"
    print_result(data, lambda: text)
