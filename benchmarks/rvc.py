"""Speed of a whole RVC conversion, and its difference to the public reference.

    python benchmarks/rvc.py --reference DIR [--kinds v2-48k v2-40k] [--seconds 60.02] [--rounds 2] [--vocal FILE]
        [--exported | --voice FILE]

DIR is a checkout of RVC-Project/Retrieval-based-Voice-Conversion-WebUI; its own pipeline runs as it is. Needs
transformers and librosa beside our own dependencies. Every run is a separate process with the same files: a mono vocal
at 16 kHz (a synthetic singer, or FILE), a voice of random weights (as in rvc_parity.py), a HuBERT of random weights, an
index of 5,000 vectors near the features of the vocal. Index rate 0.75, RMS mix 0.25, protect 0.33, all random numbers
zero. The sides alternate; the fastest of `--rounds` counts for each.

Both sides get one f0 (Praat's, 0 where unvoiced, as models were trained with), so that trackers don't differ;
`--tracker rmvpe` runs a random RMVPE on both sides for its time and discards the result.

The reference loses the last 20 ms of most clips. With 60.02 s the rest has as many half seconds as the vocal, so that
its RMS mix, which stretches its curve over the shorter output, nearly agrees with one over the entire vocal. `--rms-mix
1` turns it off on both sides and compares the networks alone.

`--exported` takes the voice through the library first: published as training does it, with an index that we built of
the same vectors, and written by `voices export`; so it shows that the reference sings with what we export. `--voice
FILE.pth` takes an exported voice instead, with its .index beside it, of any kind.

Sides: `reference`; `reference, kept memory` is the same with glibc set to keep freed memory; `float32` and `default`
are ours at these precisions. Pieces are as long as the reference's, and all of the vocal is converted: no rest is
skipped or silenced.

Columns: wall seconds and CPU seconds for the conversion without loading; seconds in pitch, content
encoder, retrieval, prior with flow, decoder, and all else; times faster than `reference`; SNR in dB against
`reference`, over the entire sound and over its first piece, which ends before the first cut; peak memory (RSS) of the
process in MB, and before the conversion began. Below them the floor: the time of all operations at the rate of this
machine's matrix products.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

RATE = 16000
CENTRE, QUERY, MOST = 38, 6, 41  # seconds: where the reference cuts on a CPU
INDEX_RATE, PROTECT = 0.75, 0.33
KEPT_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
SIDES = ("reference", "reference, kept memory", "float32", "default")
FLOOR = "floor"
STAGES = ("pitch", "content", "retrieval", "prior", "decoder")


class Clock:
    """Sums the seconds spent in wrapped functions, by name."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)

    def wrapped(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds[stage] += time.perf_counter() - begun

        return timed


@contextmanager
def zero_draws() -> Iterator[None]:
    import torch

    def zeros(*shape: Any, device: Any = None, **_: Any) -> torch.Tensor:
        return torch.zeros(*shape, device=device)

    with (
        patch.object(torch, "randn", zeros),
        patch.object(torch, "rand", zeros),
        patch.object(torch, "randn_like", torch.zeros_like),
    ):
        yield


def memory() -> float:
    """Peak memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(convert: Callable[[], np.ndarray], clock: Clock, folder: Path) -> None:
    """Run `convert` once and write its sound and figures into `folder`."""
    loaded = memory()
    wall, cpu = time.perf_counter(), time.process_time()
    sound = convert()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    np.save(folder / "sound.npy", sound)
    figures = {"wall": wall, "cpu": cpu, "stages": clock.seconds, "peak": memory(), "loaded": loaded}
    (folder / "figures.json").write_text(json.dumps(figures))


def padded_pitch(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Coarse pitch and f0 with a second of reflection on both sides, as the reference's pipeline has them."""
    from understudy.voices.rvc.pitch import coarse_pitch

    f0 = np.pad(np.load(folder / "f0.npy")[::2], 100, mode="reflect")
    return coarse_pitch(f0), f0


def run_reference(folder: Path, out: Path, reference: Path, mix: float, rmvpe: bool) -> None:
    sys.path.append(str(reference))
    os.chdir(reference)
    sys.argv = sys.argv[:1]
    import torch
    from infer import hubert
    from infer.module import models
    from infer.vc import pipeline

    hubert.HUBERT_MODEL_PATH = folder / "hubert"
    document = torch.load(folder / "voice.pth", weights_only=True)
    name = f"SynthesizerTrnMs{ {'v1': 256, 'v2': 768}[document['version']] }NSFsid"
    synthesizer = getattr(models, name + ("" if document["f0"] else "_nono"))(*document["config"], is_half=False)
    del synthesizer.enc_q
    synthesizer.load_state_dict(document["weight"])  # the reference's own loading overlooks missing tensors
    synthesizer.eval().float()

    class Config:
        x_pad, x_query, x_center, x_max, is_half, device = 1, QUERY, CENTRE, MOST, False, "cpu"

    encoder = hubert.load_hubert_model("cpu", False)
    runner = pipeline.Pipeline(document["config"][-1], Config)
    coarse, f0 = padded_pitch(folder)
    if rmvpe:
        from infer.rmvpe import RMVPE

        runner.model_rmvpe = RMVPE(str(folder / "rmvpe.pt"), is_half=False, device="cpu")
    clock = Clock()

    def pitch(sound: np.ndarray, frames: int, *_: Any) -> tuple[np.ndarray, np.ndarray]:
        if rmvpe:
            runner.model_rmvpe.infer_from_audio(sound, thred=0.03)
        return coarse[:frames], f0[:frames].astype(np.float64)

    runner.get_f0 = clock.wrapped("pitch", pitch)
    pipeline.extract_hubert_features = clock.wrapped("content", pipeline.extract_hubert_features)
    synthesizer.dec.forward = clock.wrapped("decoder", synthesizer.dec.forward)
    synthesizer.infer = clock.wrapped("prior", synthesizer.infer)
    vocal = np.load(folder / "vocal.npy").astype(np.float64)

    def convert() -> np.ndarray:
        with zero_draws():
            made = runner.pipeline(
                encoder, synthesizer, 0, vocal, [0, 0, 0], 0, "pm", str(folder / "voice.index"), INDEX_RATE,
                int(document["f0"]), document["config"][-1], 0, mix, document["version"], PROTECT,
            )  # fmt: skip
        return np.asarray(made, np.float32) / 32768

    measured(convert, clock, out)
    figures = json.loads((out / "figures.json").read_text())
    figures["stages"]["prior"] -= figures["stages"]["decoder"]
    (out / "figures.json").write_text(json.dumps(figures))


def run_ours(folder: Path, out: Path, precision: str, mix: float, rmvpe: bool) -> None:
    from tests.support.rvc_voices import voice_of_files
    from understudy.audio.pitch import PitchSettings, PitchTrack, track
    from understudy.audio.samples import Audio
    from understudy.context import Context
    from understudy.models import Weights
    from understudy.voices import cuts
    from understudy.voices.engine import ConversionSettings, Performance
    from understudy.voices.rvc import engine as rvc
    from understudy.voices.rvc import singing
    from understudy.voices.rvc.noise import Noise
    from understudy.voices.rvc.retrieval import Retrieval

    settings = ConversionSettings(
        index_rate=INDEX_RATE, rms_mix=mix, protect=PROTECT,
        precision="float32" if precision == "float32" else "auto",
    )  # fmt: skip
    voice = voice_of_files(out / "voice", folder / "voice.pth", folder / "voice.index")
    models = {"contentvec": Weights(folder / "hubert" / "pytorch_model.bin", "0" * 64)}
    singer = rvc.load_voice(voice, models, settings, "cpu")
    vocals = Audio.of(np.load(folder / "vocal.npy"), RATE)
    pitch = PitchTrack(np.load(folder / "f0.npy"))
    context = Context(out, workers=os.cpu_count() or 1)
    clock = Clock()

    def as_the_reference_cuts(energy: np.ndarray, gain: np.ndarray, longest: int) -> list[cuts.Piece]:
        places = [0, *cut_places(folder), len(energy)]
        return [cuts.Piece(a, b, a > 0) for a, b in pairwise(places)]

    def convert() -> np.ndarray:
        if rmvpe:
            rmvpe_settings = PitchSettings(tracker="rmvpe")
            clock.wrapped("pitch", track)(context, vocals, rmvpe_settings, folder / "rmvpe.pt")
        sung = rvc.perform(context, Performance(vocals, pitch, 0), lambda: singer, settings, Noise(None), rests=False)
        assert sung is not None
        return np.asarray(sung.read().samples[0])

    with (
        patch.object(rvc, "pieces", as_the_reference_cuts),
        patch.object(singing, "_content", clock.wrapped("content", singing._content)),
        patch.object(singing, "_decode", clock.wrapped("decoder", singing._decode)),
        patch.object(Retrieval, "neighbours", clock.wrapped("retrieval", Retrieval.neighbours)),
        patch.object(type(singer.synthesizer), "latent", clock.wrapped("prior", type(singer.synthesizer).latent)),
    ):
        measured(convert, clock, out)


def run_floor(folder: Path, out: Path) -> None:
    """Operations of a second of the vocal (a multiplication and an addition are two), and how many a second this
    machine's matrix products reach. Both together give the floor, which no implementation of these operations beats."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from understudy.voices.rvc import load_checkpoint
    from understudy.voices.rvc.hubert import load_content_encoder

    loaded = load_checkpoint(folder / "voice.pth")
    synthesizer, a = loaded.synthesizer, loaded.architecture
    encoder = load_content_encoder(folder / "hubert" / "pytorch_model.bin")
    frames, speaker = 1000, torch.tensor([0])
    features = torch.zeros(1, frames, a.content_channels)
    noise = torch.zeros(1, a.latent_channels, frames)
    coarse = torch.full((1, frames), 50) if a.f0 else None
    source = torch.zeros(1, 1, frames * a.hop // 10) if a.f0 else None
    counted = {}
    with torch.inference_mode():
        for name, run, seconds in (
            ("content", lambda: encoder.encode(torch.zeros(1, 10 * RATE), a.version), 10),
            (
                "prior",
                lambda: synthesizer.latent(features, coarse, speaker, noise),
                10,
            ),
            ("decoder", lambda: synthesizer.dec(noise[:, :, :100], source, synthesizer.speaker_vector(speaker)), 1),
        ):
            with FlopCounterMode(display=False) as counter:
                run()
            counted[name] = counter.get_total_flops() / seconds
    rates = {}
    for kind in ("float32", "bfloat16"):
        x = torch.randn(1536, 1536).to(getattr(torch, kind))
        times: list[float] = []
        for _ in range(12):
            begun = time.perf_counter()
            x @ x
            times.append(time.perf_counter() - begun)
        rates[kind] = 2 * 1536**3 / min(times)
    (out / "figures.json").write_text(json.dumps({"operations": counted, "rates": rates}))


def cut_places(folder: Path) -> list[int]:
    """Frames of 10 ms at which the reference cuts the vocal: the least sum of 160 absolute values near each 38 s."""
    from scipy.signal import butter, filtfilt

    vocal = filtfilt(*butter(5, 48, "highpass", fs=RATE), np.load(folder / "vocal.npy").astype(np.float64))
    if len(vocal) + 160 <= MOST * RATE:
        return []
    total = np.cumsum(np.abs(np.pad(vocal, 80, mode="reflect")))
    moving = total[159:-1] - np.concatenate([[0.0], total[:-161]])
    return [
        (place - QUERY * RATE + int(np.argmin(moving[place - QUERY * RATE : place + QUERY * RATE]))) // 160
        for place in range(CENTRE * RATE, len(vocal), CENTRE * RATE)
    ]


def export_voice(folder: Path, vectors: np.ndarray) -> None:
    """Publish the model in `folder` as training does, with an index of `vectors`, and export it in its place."""
    from tests.support.library_voices import TRAINED, recorded_voice
    from understudy.context import Context
    from understudy.voices import library
    from understudy.voices.rvc.checkpoint import read_checkpoint
    from understudy.voices.rvc.export import export_rvc
    from understudy.voices.rvc.index_building import build_index

    root, index, context = folder / "library", folder / "voice.index", Context(folder)
    hashed = recorded_voice(root).manifest.recordings_hash
    build_index([vectors], index, context)
    checkpoint = read_checkpoint(folder / "voice.pth")
    voice = library.publish_model(root, "nova", hashed, checkpoint, index, TRAINED, default=True)
    export_rvc(voice, folder / "voice.pth", context, replace=True)


def make_material(folder: Path, reference: Path, kind: str, arguments: argparse.Namespace) -> None:
    """Writes all files that both sides read into `folder`."""
    seconds, vocal, rmvpe = arguments.seconds, arguments.vocal, arguments.tracker == "rmvpe"
    sys.path.append(str(reference))
    import faiss
    import rvc_parity
    import torch
    from infer.module import models
    from transformers import HubertConfig

    from tests.support import rmvpe_files as rmvpe_material
    from tests.support.contentvec_files import write_random_contentvec
    from tests.support.signals import PHRASE, singing
    from understudy.audio.files import decode
    from understudy.audio.pitch import PitchSettings, track
    from understudy.audio.resample import resample
    from understudy.context import Context
    from understudy.voices.rvc.checkpoint import Checkpoint, read_checkpoint, write_pth
    from understudy.voices.rvc.hubert import load_content_encoder

    context = Context(folder)
    if vocal is None:
        sound = singing(PHRASE * (int(seconds) // 4 + 1), RATE)[0]
    else:
        sound = resample(decode(context, vocal, folder / "decoded.npy").read().mono(), RATE)
    sound = sound.read(0, round(seconds * RATE))
    np.save(folder / "vocal.npy", sound.samples[0])
    np.save(folder / "f0.npy", track(context, sound, PitchSettings(tracker="praat", high=1100)).f0)
    if arguments.voice is None:
        architecture = rvc_parity.architecture_of(kind)
        network = rvc_parity.reference(architecture, models)
        stored = {name: tensor.half() for name, tensor in network.state_dict().items()}
        write_pth(Checkpoint(architecture, stored), folder / "voice.pth")
    else:
        shutil.copyfile(arguments.voice, folder / "voice.pth")
        architecture = read_checkpoint(arguments.voice).architecture
    (folder / "hubert").mkdir()
    HubertConfig().save_pretrained(folder / "hubert")
    write_random_contentvec(folder / "hubert" / "pytorch_model.bin", "transformers", dtype=torch.float32)
    encoder = load_content_encoder(folder / "hubert" / "pytorch_model.bin")
    features = encoder.encode(torch.from_numpy(sound.samples[:, : 20 * RATE].copy()), architecture.version)[0].numpy()
    random = np.random.default_rng(0)
    near = features[random.integers(0, len(features), 5000)]
    vectors = near + 0.3 * features.std() * random.standard_normal(near.shape).astype(np.float32)
    index = faiss.index_factory(vectors.shape[1], "IVF128,Flat")
    index.train(vectors)
    index.add(vectors)
    faiss.write_index(index, str(folder / "voice.index"))
    if arguments.voice is not None:
        shutil.copyfile(arguments.voice.with_suffix(".index"), folder / "voice.index")
    elif arguments.exported:
        export_voice(folder, vectors)
    if rmvpe:
        rmvpe_material.write_pt(folder / "rmvpe.pt", rmvpe_material.random_weights(0))


def snr(expected: np.ndarray, found: np.ndarray) -> float:
    """In dB, over the length of the shorter one."""
    frames = min(len(expected), len(found))
    expected, found = expected[:frames].astype(np.float64), found[:frames].astype(np.float64)
    return float(10 * np.log10(np.square(expected).sum() / np.square(expected - found).sum()))


def work(folder: Path, arguments: argparse.Namespace, side: str, out: Path) -> None:
    """Run one side in a separate process."""
    out.mkdir()
    command = [sys.executable, __file__, "--reference", str(arguments.reference), "--worker", side]
    command += [
        "--folder",
        str(folder),
        "--out",
        str(out),
        "--tracker",
        arguments.tracker,
        "--rms-mix",
        str(arguments.rms_mix),
    ]
    memory = KEPT_MEMORY if side.endswith("kept memory") else {}
    threads = {"OMP_NUM_THREADS": str(arguments.threads), "RVC_AUDIO_FORCE_CPU": "1"}
    subprocess.run(command, check=True, env={**os.environ, **memory, **threads}, stdout=subprocess.DEVNULL)


def compare(arguments: argparse.Namespace, kind: str) -> None:
    from understudy.voices.rvc import load_checkpoint

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_material(folder, arguments.reference, kind, arguments)
        best: dict[str, dict[str, Any]] = {}
        sounds: dict[str, np.ndarray] = {}
        for number in range(arguments.rounds):
            for side in arguments.sides:
                out = folder / f"{side} {number}"
                work(folder, arguments, side, out)
                figures = json.loads((out / "figures.json").read_text())
                sounds[side] = np.load(out / "sound.npy")
                peak = max(figures["peak"], best.get(side, figures)["peak"])
                if side not in best or figures["wall"] < best[side]["wall"]:
                    best[side] = figures
                best[side]["peak"] = peak
        rate = load_checkpoint(folder / "voice.pth").architecture.sample_rate
        first = (cut_places(folder) or [int(arguments.seconds * 100)])[0] * rate // 100 - rate // 20
        print(f"\n{kind}, {arguments.seconds:g} s, tracker {arguments.tracker}, {arguments.threads} threads")
        head = "".join(f"{name:>10}" for name in ("wall", "cpu", *STAGES, "else", "faster", "SNR", "1st SNR", "peak"))
        print(f"{'':24}{head}{'loaded':>10}")
        for side, figures in best.items():
            stages = [figures["stages"][name] for name in STAGES]
            faster, whole, begun = 1.0, float("inf"), float("inf")
            if "reference" in best:
                faster = best["reference"]["wall"] / figures["wall"]
            if side not in SIDES[:2] and "reference" in best:
                whole = snr(sounds["reference"], sounds[side])
                begun = snr(sounds["reference"][:first], sounds[side][:first])
            times = "".join(
                f"{value:10.2f}" for value in (figures["wall"], figures["cpu"], *stages, figures["wall"] - sum(stages))
            )
            print(
                f"{side:24}{times}{faster:10.2f}{whole:10.1f}{begun:10.1f}{figures['peak']:10.0f}{figures['loaded']:10.0f}"
            )
        work(folder, arguments, FLOOR, folder / FLOOR)
        print_floor(json.loads((folder / FLOOR / "figures.json").read_text()), arguments.seconds)
        sys.stdout.flush()


def print_floor(found: dict[str, dict[str, float]], seconds: float) -> None:
    content, prior, decoder = (found["operations"][name] / 1e9 for name in ("content", "prior", "decoder"))
    single, half = (found["rates"][kind] / 1e9 for kind in ("float32", "bfloat16"))
    print(
        f"billions of operations per second of sound: content {content:.1f}, prior {prior:.1f}, decoder {decoder:.1f}"
    )
    print(f"matrix products: {single:.0f} billion a second in float32, {half:.0f} in bfloat16")
    everything, mixed = (content + prior + decoder) / single, (content + prior) / single + decoder / half
    print(f"floor: {everything * seconds:.1f} s in float32, {mixed * seconds:.1f} s with the decoder in bfloat16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--kinds", nargs="+", default=["v2-48k", "v2-40k"])
    parser.add_argument("--seconds", type=float, default=60.02)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--tracker", choices=["given", "rmvpe"], default="given")
    parser.add_argument("--rms-mix", type=float, default=0.25)
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=SIDES)
    parser.add_argument("--vocal", type=Path)
    parser.add_argument("--exported", action="store_true")
    parser.add_argument("--voice", type=Path)
    parser.add_argument("--worker", choices=[*SIDES, FLOOR], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.reference = arguments.reference.resolve()
    rmvpe = arguments.tracker == "rmvpe"
    if arguments.worker is None:
        for kind in arguments.kinds if arguments.voice is None else [arguments.voice.name]:
            compare(arguments, kind)
    elif arguments.worker == FLOOR:
        run_floor(arguments.folder, arguments.out)
    elif arguments.worker.startswith("reference"):
        run_reference(arguments.folder, arguments.out, arguments.reference, arguments.rms_mix, rmvpe)
    else:
        run_ours(arguments.folder, arguments.out, arguments.worker, arguments.rms_mix, rmvpe)


if __name__ == "__main__":
    main()
