"""``understudy models``: list, fetch, add, verify, remove, show."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from understudy.context import Context, scratch_context
from understudy.errors import UnderstudyError
from understudy.services.cli.console import cancellable, print_note, print_result, stage_progress
from understudy.services.cli.options import OUTPUT, with_options

if TYPE_CHECKING:  # each command imports what it works with, so that ``understudy --help`` answers at once
    from understudy.models.catalogue import Model, Variant
    from understudy.models.hashes import Verified
    from understudy.models.installed import Record

models_app = typer.Typer(help="The models that neural voices, trackers and separators need.", no_args_is_help=True)

NAME = Annotated[str, typer.Argument(help="A model; 'understudy models list' shows them.")]
TRUST = Annotated[bool, typer.Option("--trust", help="Accept a file whose hash isn't known; its hash is recorded.")]


@models_app.command("list")
@with_options(OUTPUT)
def list_(
    words: Annotated[
        list[str] | None, typer.Argument(help="Only models whose names or descriptions contain these words.")
    ] = None,
    purpose: Annotated[
        str | None, typer.Option("--purpose", "-p", help="vocals, karaoke, dereverb, stems, ...")
    ] = None,
    family: Annotated[str | None, typer.Option(help="roformer, mdx_net, vr, demucs, ...")] = None,
    commercial: Annotated[
        bool, typer.Option("--commercial", help="Only models whose licence is stated and allows commercial use.")
    ] = False,
    installed: Annotated[bool, typer.Option("--installed", help="Only installed models.")] = False,
) -> None:
    """List the models: purpose, size, published SDR, and whether they are installed."""
    from understudy.models import catalogue, models_folder
    from understudy.pipeline.separation.models import own_files
    from understudy.services.cli.model_lines import ListedModel, OwnFile, listing

    known = list(catalogue().values())
    _check("purpose", purpose, [model.group for model in known])
    _check("family", family, [model.architecture for model in known])
    wanted = [word.lower() for word in words or ()]
    chosen = [
        model
        for model in known
        if purpose in (None, model.group)
        and family in (None, model.architecture)
        and (model.commercial or not commercial)
        and all(word in _text(model) for word in wanted)
    ]
    found = [ListedModel.of(model) for model in chosen]
    if installed:
        found = [one for one in found if one.state == "installed"]
    own = [
        file
        for file in map(OwnFile.of, own_files())
        if not (purpose or commercial)
        and family in (None, file.family)
        and all(word in file.file.lower() for word in wanted)
    ]
    nothing = "No such model."
    if installed:
        nothing = "No models are installed. RVC voices need one: understudy models fetch contentvec"
    data = {
        "folder": str(models_folder()),
        "models": [one.to_dict() for one in found],
        "yours": [asdict(file) for file in own],
    }
    print_result(data, lambda: listing(found, own) or nothing)


@models_app.command()
@with_options(OUTPUT)
def show(name: NAME) -> None:
    """Show the details of a model, its files and their hashes."""
    from understudy.models.catalogue import find_model
    from understudy.pipeline.separation.models import find_separator
    from understudy.services.cli.model_lines import ListedModel, details

    if _own(name):
        model = find_separator(name)
        assert model.weights is not None
        paths = [str(part.path) for part in (model.weights, *model.weights.companions)]
        data = {"name": model.name, "family": model.family, "stems": model.stems, "files": paths}
        data["sha256"] = model.weights.sha256
        text = (
            f"{escape(model.name)}  {model.family}; stems: {', '.join(model.stems)}\n    SHA-256 {model.weights.sha256}"
        )
        print_result(data, lambda: "\n".join([text, *(f"    {escape(path)}" for path in paths)]))
        return
    found = ListedModel.of(find_model(name))
    print_result(found.to_dict(), lambda: details(found))


@models_app.command()
@with_options(OUTPUT)
def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Models; 'understudy models list' shows them.")] = None,
    preset: Annotated[str | None, typer.Option(help="All models that this preset separates with.")] = None,
    trust: TRUST = False,
) -> None:
    """Download models. An interrupted download is resumed."""
    from understudy.models.catalogue import find_model
    from understudy.models.fetch import fetch, what_to_fetch
    from understudy.models.hashes import models_folder
    from understudy.services.cli.model_lines import record_dict

    named = [find_model(name) for name in [*(names or ()), *(_of_preset(preset) if preset else ())]]
    wanted = [name for model in named for name in (model.name, *model.needs)]
    if not wanted:
        if preset is None:
            raise UnderstudyError(
                "model-unknown", "No model was named.", "'understudy models list' shows them; or name a --preset."
            )
        print_result({"models": []}, lambda: f"The preset {escape(preset)} separates with what is inside the program.")
        return
    plans = {}
    unverifiable = []
    for name in dict.fromkeys(wanted):  # what can't be done fails before anything is
        try:
            plans[name] = what_to_fetch(name, trust)
        except UnderstudyError as error:
            if error.code != "model-unverifiable":
                raise
            unverifiable.append((name, error))
    if unverifiable:
        raise _unverifiable(unverifiable)
    made = []
    for name, variant in plans.items():
        if variant is not None:
            print_note(_announcement(find_model(name), variant, models_folder()))
        with _work("fetch", name) as context:
            made.append(fetch(name, context, trust))
    print_result({"models": [record_dict(record) for record in made]}, lambda: "\n".join(map(_made, made)))


@models_app.command()
@with_options(OUTPUT)
def add(
    path: Annotated[Path, typer.Argument(help="A model's file, or the folder of a transformers model.")],
    name: Annotated[
        str | None,
        typer.Option("--as", help="Which model it is, if it can't be told; or a content encoder's name (spin-v2)."),
    ] = None,
    trust: TRUST = False,
    link: Annotated[bool, typer.Option("--link", help="Use it where it is instead of copying it.")] = False,
) -> None:
    """Add a model that is on this machine already, e.g. from another program."""
    from understudy.models.add import add
    from understudy.pipeline.separation.add import add_separator
    from understudy.services.cli.model_lines import record_dict
    from understudy.voices.rvc.embedders import add_embedder

    try:
        with _work("add") as context:
            record = add(path, context, name, trust, link)
    except UnderstudyError as error:
        if error.code == "model-unknown" and name is not None:
            # any content encoder may be an embedder, under the name that voices trained with it give
            try:
                with _work("add") as context:
                    own = add_embedder(path, name, context, link)
            except UnderstudyError as other:
                if other.code in ("cancelled", "disk-full", "output-not-writable", "model-installed"):
                    raise
                raise UnderstudyError(error.code, f"{error.message} {other.message}", error.hint) from other
            print_result(record_dict(own), lambda: _made(own))
            return
        if error.code != "model-unrecognised" or name is not None or link or not path.is_file():
            raise
        with _work("add") as context:  # a separation model needs no entry in the catalogue
            model = add_separator(path, context)
        data = {"model": model.name, "family": model.family, "stems": model.stems}
        print_result(
            data, lambda: f"[green]✓[/] [bold]{escape(model.name)}[/]  {model.family}: {', '.join(model.stems)}"
        )
        return
    print_result(record_dict(record), lambda: _made(record))


@models_app.command()
@with_options(OUTPUT)
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Models; all that are installed if none is named.")] = None,
) -> None:
    """Compute the hashes of installed models again. Exits 1 when a file is missing or has changed."""
    from understudy.models import catalogue
    from understudy.models.hashes import verify_file
    from understudy.models.installed import verify
    from understudy.pipeline.separation.models import own_files

    found = []
    for name in names or catalogue():
        own = _own(name)
        with _work("verify", name) as context:
            try:
                found.append(verify_file(own, context) if own else verify(name, context))
            except UnderstudyError as error:
                if names or error.code not in ("model-untrusted", "model-record", "model-companion"):
                    raise
                print_note(f"[red]✗[/] {escape(error.message)} {escape(error.hint)}")
    if not names:
        found = [model for model in found if model.state != "absent"]
        for path in own_files():
            with _work("verify", path.name) as context:
                found.append(verify_file(path, context))
    data = {"models": [asdict(model) for model in found]}
    print_result(data, lambda: "\n".join(map(_verdict, found)) or "No models are installed.")
    if any(model.state != "ok" for model in found):
        raise typer.Exit(1)


@models_app.command()
@with_options(OUTPUT)
def remove(name: NAME) -> None:
    """Delete a model's files; a linked file stays where it is."""
    from understudy.models.hashes import remove_file
    from understudy.models.installed import remove

    own = _own(name)
    removed = [str(path) for path in (remove_file(own) if own else remove(name))]
    print_result({"removed": removed}, lambda: "\n".join(f"Removed {escape(path)}" for path in removed))


@contextmanager
def _work(kind: str, subject: str = "") -> Iterator[Context]:
    """A context whose progress is one line, if there is any."""
    from understudy.pipeline.executor import StageEvent

    begun, reported = time.monotonic(), False
    with cancellable() as cancelled, stage_progress() as listen:

        def progress(fraction: float) -> None:
            nonlocal reported
            reported = True
            listen(StageEvent(kind, "progress", fraction, 0.0, "cpu", subject))

        with scratch_context(progress, cancelled) as context:
            yield context
        if reported:
            listen(StageEvent(kind, "finished", 1.0, time.monotonic() - begun, "cpu", subject))


def _check(option: str, value: str | None, known: list[str | None]) -> None:
    if value is not None and value not in known:
        there_are = ", ".join(dict.fromkeys(word for word in known if word))
        raise UnderstudyError("option-invalid", f"There is no {option} {value!r}.", f"There are: {there_are}.")


def _text(model: Model) -> str:
    """The text in which a search looks for its words."""
    words = (model.name, model.by, model.note, model.purpose, model.group, *model.aliases, model.preferred.file)
    return " ".join(word for word in words if word).lower()


def _of_preset(preset: str) -> list[str]:
    from understudy.pipeline.separating import models_of
    from understudy.pipeline.settings import load_settings

    names = models_of(load_settings(preset, environment={}).separation)
    return [name for name in names if _own(name) is None and not Path(name).is_file()]


def _own(name: str) -> Path | None:
    """The user's own file of that name in the models folder."""
    from understudy.pipeline.separation.models import own_files

    return next((path for path in own_files() if path.name == name), None)


def _unverifiable(errors: list[tuple[str, UnderstudyError]]) -> UnderstudyError:
    if len(errors) == 1:
        return errors[0][1]
    names = [name for name, _ in errors]
    return UnderstudyError(
        "model-unverifiable",
        f"Of {len(names)} of these models ({', '.join(names)}) no hash is known for sure, so the downloads "
        "can't be checked.",
        "If you trust those who publish them ('understudy models show NAME'), add --trust; the hashes of the downloads "
        "are recorded, and any later change is noticed.",
    )


def _announcement(model: Model, variant: Variant, folder: Path) -> str:
    from understudy.models.installed import size_text

    lines = [f"[bold]{model.name}[/]: {escape(model.purpose)}. Licence: {escape(model.licence)}."]
    for file in (variant, *variant.companions):
        lines.append(f"  {size_text(file)} from {escape(str(file.url))}\n  to {escape(str(folder / file.file))}")
    return "\n".join(lines)


def _made(record: Record) -> str:
    from understudy.services.cli.model_lines import weights_path

    trusted = ", trusted by you" if any(file.trusted for file in record.files) else ", the known file"
    path = escape(str(weights_path(record)))
    return f"[green]✓[/] [bold]{record.model}[/]  {path}\n    SHA-256 {record.weights.sha256}{trusted}"


def _verdict(model: Verified) -> str:
    mark, file = "[green]✓[/]" if model.state == "ok" else "[red]✗[/]", escape(model.file)
    says = {
        "ok": f"{file} (trusted by you)" if model.trusted else file,
        "changed": f"{file} has changed: it is {model.sha256} now",
        "missing": f"{file} is missing",
        "absent": f"is not installed: understudy models fetch {model.name}",
    }
    return f"{mark} [bold]{model.name}[/]  {says[model.state]}"
