"""``understudy voices evaluate``: the engines of a voice compared by measuring."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from understudy import environment
from understudy.services.cli.console import cancellable, print_result
from understudy.services.cli.options import OUTPUT, Options, with_options
from understudy.services.cli.voices import NAME

if TYPE_CHECKING:
    from understudy.voice_evaluation import EngineScores

_COLUMNS = (
    ("similarity", "similarity", "{:.3f}"),
    ("cents", "cents off", "{:.1f}"),
    ("f0_error", "wrong pitch", "{:.1%}"),
    ("voicing_error", "voicing off", "{:.1%}"),
    ("intelligibility", "ESTOI", "{:.3f}"),
    ("content", "content", "{:.3f}"),
    ("noise", "noise dB", "{:.1f}"),
    ("clicks", "clicks/s", "{:.2f}"),
    ("mel_distance", "mel dist.", "{:.2f}"),
)
_NOTES = (
    "similarity: of speakers, to held-out recordings. cents off: median. wrong pitch: frames off by 50 cents or more.",
    "ESTOI: intelligibility by the spectrum, no words are recognised. content: cosine of what Whisper's encoder hears,",
    "to which zero-shot listens itself. Nobody listened: of naturalness only noise, clicks and mel distance are known.",
)


@with_options("voices device", OUTPUT)
def evaluate_voice(
    name: NAME,
    engine: Annotated[
        Literal["instant", "zero-shot", "rvc"] | None,
        typer.Option(help="Evaluate this engine, and instant beside it; default: all whose models are installed."),
    ] = None,
    steps: Annotated[int, typer.Option(min=4, max=50, help="zero-shot: steps from noise to sound.")] = 25,
    *,
    options: Options,
) -> None:
    """Measure how well the engines of a voice sing: likeness, pitch, intelligibility, noise.

    The end of the recordings is held out and sung, and so are phrases of three synthetic singers.
    """
    from understudy.context import scratch_context
    from understudy.voice_evaluation import evaluate_voice
    from understudy.voices import library
    from understudy.voices.engine import ConversionSettings

    voice = library.load(options.voices, name)
    engines = () if engine is None else (("instant", engine) if "instant" in voice.engines else (engine,))
    settings = ConversionSettings(steps=steps)
    with cancellable() as cancelled, scratch_context(cancel=cancelled) as context:
        device = environment.choose_device(options.values.get("device"))
        found = evaluate_voice(voice, engines, settings, replace(context, device=device))
    data = {"voice": name, "engines": [scores.to_dict() for scores in found]}
    print_result(data, lambda: _table(found))


def _table(found: list[EngineScores]) -> str:
    rows = {scores.engine: scores.to_dict()["means"] for scores in found}
    columns = [column for column in _COLUMNS if any(column[0] in means for means in rows.values())]
    lines = [f"{'':10}" + "".join(f"{title:>12}" for _, title, _ in columns)]
    for name, means in rows.items():
        cells = (form.format(means[score]) if score in means else "-" for score, _, form in columns)
        lines.append(f"{name:10}" + "".join(f"{cell:>12}" for cell in cells))
    if heard := [scores.engine for scores in found if scores.heard]:
        lines.append(
            f"{', '.join(heard)}: may have heard what is held out here, in training or for want of recordings."
        )
    if "similarity" not in {column[0] for column in columns}:
        lines.append("No similarity: get the model by understudy models fetch speaker-encoder.")
    return "\n".join([*lines, *_NOTES])
