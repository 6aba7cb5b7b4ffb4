/** Hearing a finished cover: live volumes, mute and solo, and the original at equal loudness. */
import { useEffect, useState } from "preact/hooks";
import type { Job } from "./api";
import { clock, decibels } from "./parts";
import { Player, type Part, type Side } from "./player";
import { Waveform } from "./waveform";

export interface Gains {
  vocals: number;
  instrumental: number;
}

interface Props {
  job: Job;
  gains: Gains;
  onGains: (gains: Gains) => void;
}

const PARTS = [
  { part: "vocals", name: "Vocal", color: "--cover" },
  { part: "instrumental", name: "Band", color: "--song" },
] as const;

export function Mixer({ job, gains, onGains }: Props) {
  const [player, setPlayer] = useState<Player | null>(null);
  const [loaded, setLoaded] = useState(0);
  const [failed, setFailed] = useState(false);
  const [muted, setMuted] = useState<ReadonlySet<string>>(new Set());
  const [solo, setSolo] = useState<string | null>(null);
  const [, redraw] = useState(0);
  const { vocals, instrumental } = job.stems;
  const original = job.inputs.song;

  useEffect(() => {
    if (!vocals || !instrumental || !original) return;
    let open: Player | null = null;
    let gone = false;
    const { song, cover } = job.result!.loudness;
    const even = song !== null && cover !== null ? 10 ** ((cover - song) / 20) : 1;
    const addresses = { vocals: vocals.href, instrumental: instrumental.href, original: `v1/songs/${original}/audio` };
    Player.load(addresses, even, setLoaded).then(
      (made) => {
        if (gone) return made.close();
        open = made;
        made.onchange = () => redraw((count) => count + 1);
        setPlayer(made);
      },
      () => setFailed(true),
    );
    return () => {
      gone = true;
      open?.close();
    };
  }, [job.id]);

  useEffect(() => {
    if (!player) return;
    for (const { part } of PARTS) {
      const silent = solo ? solo !== part : muted.has(part);
      player.level(part, silent ? 0 : 10 ** (gains[part] / 20));
    }
  }, [player, gains, muted, solo]);

  useEffect(() => {
    if (!player?.playing) return;
    let frame = requestAnimationFrame(function look() {
      redraw((count) => count + 1);
      frame = requestAnimationFrame(look);
    });
    return () => cancelAnimationFrame(frame);
  }, [player, player?.playing]);

  useEffect(() => {
    if (!player) return;
    const press = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, select, textarea, button, a, summary")) return;
      if (event.key === " ") {
        event.preventDefault();
        toggle(player);
      } else if (event.key === "a") player.choose("cover");
      else if (event.key === "b") player.choose("original");
      else if (event.key === "ArrowLeft") void player.seek(player.time - 5);
      else if (event.key === "ArrowRight") void player.seek(player.time + 5);
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, [player]);

  if (!vocals || !instrumental || !original || failed)
    return job.audio ? <audio class="whole" controls src={job.audio.href} aria-label="The cover" /> : null;

  const time = player?.time ?? 0;
  const flip = (part: Part) => {
    const next = new Set(muted);
    if (!next.delete(part)) next.add(part);
    setMuted(next);
  };
  return (
    <div class="mixer" aria-busy={!player}>
      <div class="row transport">
        <button class="play" disabled={!player} aria-label={player?.playing ? "Pause" : "Play"} onClick={() => player && toggle(player)}>
          <svg viewBox="0 0 24 24" aria-hidden="true">
            <path d={player?.playing ? "M6 4h4v16H6zM14 4h4v16h-4z" : "M7 4l14 8-14 8z"} />
          </svg>
        </button>
        <span class="time">
          {clock(time)} / {clock(player?.duration ?? job.result?.duration)}
        </span>
        <input
          class="seek"
          type="range"
          aria-label="Position"
          aria-valuetext={clock(time)}
          min={0}
          max={player?.duration ?? 1}
          step={0.1}
          value={time}
          disabled={!player}
          onInput={(event) => void player?.seek(Number(event.currentTarget.value))}
        />
        <Sides side={player?.side ?? "cover"} onSide={(side) => player?.choose(side)} disabled={!player} />
      </div>
      {PARTS.map(({ part, name, color }) => {
        const buffer = player?.parts.get(part);
        const silent = solo ? solo !== part : muted.has(part);
        return (
          <div class={silent || player?.side === "original" ? "track silent" : "track"} key={part} role="group" aria-label={name}>
            <div class="strip">
              <strong>{name}</strong>
              <button aria-pressed={muted.has(part)} aria-label={`Mute ${name}`} onClick={() => flip(part)}>
                M
              </button>
              <button aria-pressed={solo === part} aria-label={`Only ${name}`} onClick={() => setSolo(solo === part ? null : part)}>
                S
              </button>
              <label class="volume">
                <span class="hidden">Volume of {name}</span>
                <input
                  type="range"
                  min={-12}
                  max={12}
                  step={0.5}
                  value={gains[part]}
                  aria-valuetext={decibels(gains[part])}
                  onInput={(event) => onGains({ ...gains, [part]: Number(event.currentTarget.value) })}
                />
                <span class="figure">{decibels(gains[part])}</span>
              </label>
            </div>
            {buffer ? <Waveform buffer={buffer} time={time} color={color} onSeek={(seconds) => void player!.seek(seconds)} /> : <div class="wave empty">{Math.round(loaded * 100)} %</div>}
          </div>
        );
      })}
      <p class="soft keys">Keys: space plays, A and B switch between cover and original, arrows move by five seconds.</p>
    </div>
  );
}

function Sides({ side, onSide, disabled }: { side: Side; onSide: (side: Side) => void; disabled: boolean }) {
  return (
    <div class="sides" role="radiogroup" aria-label="What is heard">
      {(["cover", "original"] as const).map((one, at) => (
        <label key={one}>
          <input type="radio" name="side" disabled={disabled} checked={side === one} onChange={() => onSide(one)} />
          <span>
            {"AB"[at]} · {one}
          </span>
        </label>
      ))}
    </div>
  );
}

function toggle(player: Player): void {
  if (player.playing) player.pause();
  else void player.play();
}
