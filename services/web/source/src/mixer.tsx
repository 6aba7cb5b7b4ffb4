/** Hearing a finished cover: live volumes, mute and solo, and the original at equal loudness. */
import { useEffect, useState } from "preact/hooks";
import { Bar, clock, decibels, megabytes } from "./parts";
import { linear, Player, type Side } from "./player";
import type { Job } from "./schema";
import { Waveform } from "./waveform";

const LONGEST = 1200; // seconds of a cover whose parts a browser can hold

/** What a cover consists of, the colour of its drawing, and the setting that has its volume. */
export const PARTS = [
  { part: "vocals", name: "Vocal", color: "--cover", gain: "vocal_gain" },
  { part: "instrumental", name: "Band", color: "--song", gain: "instrumental_gain" },
  { part: "backing", name: "Backing vocals", color: "--good", gain: "backing_gain" },
  { part: "reverb", name: "Reverb", color: "--mind", gain: "reverb_gain" },
  { part: "noise", name: "Noise", color: "--soft", gain: "noise_gain" },
] as const;

/** dB by which a part differs from the cover; none is 0. */
export type Gains = Partial<Record<string, number>>;

interface Props {
  job: Job;
  gains: Gains;
  onGains: (gains: Gains) => void;
}

function player(job: Job): Player {
  const { loudness, duration, stem_gain } = job.result!;
  const short = (duration ?? 0) <= LONGEST;
  const song = job.inputs.song;
  return new Player({
    stream: [job.stream, job.audio].filter((file) => file !== null),
    stems: short ? Object.fromEntries(Object.entries(job.stems).map(([name, file]) => [name, file.href])) : {},
    original: song ? { address: `v1/songs/${song}/audio`, offset: job.settings.song?.start ?? 0 } : null,
    duration: duration ?? 0,
    stemGain: stem_gain ?? 0,
    evenGain: loudness?.song != null && loudness.cover != null ? loudness.cover - loudness.song : 0,
    peak: loudness?.true_peak ?? 0,
  });
}

export function Mixer({ job, gains, onGains }: Props) {
  const [playing, setPlayer] = useState<Player | null>(null);
  const [failed, setFailed] = useState(false);
  const [muted, setMuted] = useState<ReadonlySet<string>>(new Set());
  const [solo, setSolo] = useState<string | null>(null);
  const [, redraw] = useState(0);
  const parts = PARTS.filter(({ part }) => job.stems[part]);
  const mixes = parts.length > 0 && (job.result?.duration ?? 0) <= LONGEST;

  useEffect(() => {
    const made = player(job);
    made.onchange = () => redraw((count) => count + 1);
    setPlayer(made);
    if (mixes) made.load().catch(() => setFailed(true));
    return () => made.close();
  }, [job.id]);

  const ready = playing?.ready ?? false;
  useEffect(() => {
    for (const { part } of parts) {
      const silent = solo ? solo !== part : muted.has(part);
      playing?.level(part, silent ? 0 : linear(gains[part] ?? 0));
    }
  }, [playing, ready, gains, muted, solo]);

  useEffect(() => {
    if (!playing?.playing) return;
    let frame = requestAnimationFrame(function look() {
      redraw((count) => count + 1);
      frame = requestAnimationFrame(look);
    });
    return () => cancelAnimationFrame(frame);
  }, [playing, playing?.playing]);

  useEffect(() => (playing ? keys(playing) : undefined), [playing]);

  const time = playing?.time ?? 0;
  const duration = job.result?.duration ?? 0;
  const side = playing?.side ?? "cover";
  const flip = (part: string) => {
    const next = new Set(muted);
    if (!next.delete(part)) next.add(part);
    setMuted(next);
  };
  return (
    <div class="mixer" aria-busy={mixes && !ready && !failed}>
      <div class="row transport">
        <button class="play" aria-label={playing?.playing ? "Pause" : "Play"} onClick={() => playing && toggle(playing)}>
          <svg viewBox="0 0 24 24" aria-hidden="true">
            <path d={playing?.playing ? "M6 4h4v16H6zM14 4h4v16h-4z" : "M7 4l14 8-14 8z"} />
          </svg>
        </button>
        <span class="time">
          {clock(time)} / {clock(duration)}
        </span>
        <input
          class="seek"
          type="range"
          aria-label="Position"
          aria-valuetext={clock(time)}
          min={0}
          max={duration}
          step={0.1}
          value={time}
          onInput={(event) => void playing?.seek(Number(event.currentTarget.value))}
        />
        {mixes && <Sides side={side} onSide={(side) => playing?.choose(side)} disabled={!ready || !playing?.parts.has("original")} />}
      </div>
      {mixes && !ready && !failed && (
        <p class="loading soft">
          <Bar label="Loading the parts" fraction={playing?.loaded.of ? playing.loaded.bytes / playing.loaded.of : 0} />
          The cover plays at once. Its parts and the original can be heard when they are loaded
          {playing && playing.loaded.of > 0 && `: ${megabytes(playing.loaded.bytes)} of ${megabytes(playing.loaded.of)}`}.
        </p>
      )}
      {failed && <p class="soft">The parts can't be loaded now, so their volumes can't be changed. Reload the page to try again.</p>}
      {mixes &&
        parts.map(({ part, name, color }) => {
          const silent = solo ? solo !== part : muted.has(part);
          const loaded = ready && playing?.parts.get(part);
          const gain = gains[part] ?? 0;
          return (
            <div class={silent || side === "original" ? "track silent" : "track"} key={part} role="group" aria-label={name}>
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
                    value={gain}
                    aria-valuetext={decibels(gain)}
                    onInput={(event) => onGains({ ...gains, [part]: Number(event.currentTarget.value) })}
                  />
                  <span class="figure">{decibels(gain)}</span>
                </label>
              </div>
              {loaded ? (
                <Waveform
                  peaks={loaded.peaks}
                  duration={duration}
                  time={time}
                  color={color}
                  onSeek={(seconds) => void playing!.seek(seconds)}
                />
              ) : (
                <div class="wave empty" />
              )}
            </div>
          );
        })}
      <p class="soft keys">Keys: space plays{mixes && ", A and B switch between cover and original"}, arrows move by five seconds.</p>
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

const CONTROLS = "button, summary, input[type=range], input[type=radio], input[type=checkbox]";

/** The player's keys, wherever the focus is, except where an element has a use of its own for the key. What was clicked
 * with the mouse keeps no focus, or it would take the player's keys. */
function keys(player: Player): () => void {
  const press = (event: KeyboardEvent) => {
    const target = event.target as HTMLElement;
    const text = "input:not([type=range], [type=radio], [type=checkbox])";
    const own = event.key === " " ? `${CONTROLS}, a` : event.key.startsWith("Arrow") ? "input" : "";
    if (event.ctrlKey || event.metaKey || event.altKey || target.matches([text, "select, textarea", own].filter(Boolean).join())) return;
    if (event.key === " ") toggle(player);
    else if (event.key === "a") player.choose("cover");
    else if (event.key === "b") player.choose("original");
    else if (event.key === "ArrowLeft") void player.seek(player.time - 5);
    else if (event.key === "ArrowRight") void player.seek(player.time + 5);
    else return;
    event.preventDefault();
  };
  const release = () => document.activeElement?.matches(CONTROLS) && (document.activeElement as HTMLElement).blur();
  const clicked = (event: MouseEvent) => {
    if (event.detail === 0) return; // by the keyboard
    release();
    setTimeout(release); // a label's click comes to its control, and focuses it, after this
  };
  addEventListener("keydown", press);
  addEventListener("click", clicked);
  return () => {
    removeEventListener("keydown", press);
    removeEventListener("click", clicked);
  };
}
