/** Hearing what consists of stems: live volumes, mute and solo, and the original at equal loudness. */
import { useEffect, useState } from "preact/hooks";
import { joined, t } from "./i18n/language";
import type { Key } from "./i18n/messages";
import { later } from "./later";
import { decibels } from "./parts";
import { linear, type Sources } from "./player";
import type { Job } from "./schema";
import { LONGEST, Loading, type Side, Sides, Transport, useKeys, usePlayer } from "./transport";
import { Tuning } from "./tuning";
import { Waveform } from "./waveform";

const Lyrics = later(() => import("./lyrics").then((found) => found.Lyrics));

type Named<K> = K extends `part.${infer Part}` ? Part : never;

/** A stem by its name in the API, and the colour of its drawing. */
export interface Part {
  part: Named<Key>;
  color: string;
}

/** What a cover consists of, and the setting that has its volume. */
export const PARTS = [
  { part: "vocals", color: "--cover", gain: "vocal_gain" },
  { part: "instrumental", color: "--song", gain: "instrumental_gain" },
  { part: "backing", color: "--good", gain: "backing_gain" },
  { part: "reverb", color: "--mind", gain: "reverb_gain" },
  { part: "noise", color: "--soft", gain: "noise_gain" },
] as const;

/** dB by which a part differs from the cover; none is 0. */
export type Gains = Partial<Record<string, number>>;

interface Props {
  id: string; // another one: other sounds
  parts: readonly Part[];
  sides: readonly Side[];
  sources: () => Sources;
  duration: number; // seconds
  song?: string | undefined; // id of the song, whose lyrics are shown
  start: number; // seconds into the song at which this begins
  gains: Gains;
  onGains: (gains: Gains) => void;
}

/** What is loaded of a cover. */
export function sources(job: Job): Sources {
  const { loudness, duration, stem_gain } = job.result!;
  const song = job.inputs.song;
  const gain = loudness?.song != null && loudness.cover != null ? loudness.cover - loudness.song : 0;
  return {
    stream: [job.stream, job.audio].filter((file) => file !== null),
    stems: Object.fromEntries(Object.entries(job.stems).map(([name, file]) => [name, file.href])),
    wholes: song ? { original: { addresses: [`v1/songs/${song}/audio`], offset: job.settings.song?.start ?? 0, gain } } : {},
    duration: duration ?? 0,
    stemGain: stem_gain ?? 0,
    peak: loudness?.true_peak ?? 0,
  };
}

export function coverSides(): readonly Side[] {
  return [
    { side: "cover", words: t("side.cover") },
    { side: "original", words: t("side.original") },
  ];
}

export function Mixer({ id, parts, sides, sources, duration, song, start, gains, onGains }: Props) {
  const [muted, setMuted] = useState<ReadonlySet<string>>(new Set());
  const [solo, setSolo] = useState<string | null>(null);
  const mixes = parts.length > 0 && duration <= LONGEST;
  const { player, failed } = usePlayer(id, mixes, sources);
  useKeys(player, mixes ? sides : []);

  const ready = player?.ready ?? false;
  useEffect(() => {
    for (const { part } of parts) {
      const silent = solo ? solo !== part : muted.has(part);
      player?.level(part, silent ? 0 : linear(gains[part] ?? 0));
    }
  }, [player, ready, gains, muted, solo]);

  const time = player?.time ?? 0;
  const side = player?.side ?? "cover";
  const flip = (part: string) => {
    const next = new Set(muted);
    if (!next.delete(part)) next.add(part);
    setMuted(next);
  };
  return (
    <div class="mixer" aria-busy={mixes && !ready && !failed}>
      <Transport player={player} duration={duration}>
        {mixes && <Sides player={player} sides={sides} />}
      </Transport>
      <Tuning player={player} />
      {player && song && <Lyrics key={song} player={player} song={song} start={start} />}
      {mixes && !ready && !failed && <Loading player={player}>{t("mixer.loading")}</Loading>}
      {failed && <p class="soft">{t("mixer.failed")}</p>}
      {mixes &&
        parts.map(({ part, color }) => {
          const name = t(`part.${part}`);
          const silent = solo ? solo !== part : muted.has(part);
          const loaded = ready ? player?.parts.get(part) : undefined;
          const gain = gains[part] ?? 0;
          return (
            <div class={silent || side === "original" ? "track silent" : "track"} key={part} role="group" aria-label={name}>
              <div class="strip">
                <strong>{name}</strong>
                <button aria-pressed={muted.has(part)} aria-label={t("mixer.mute", { part: name })} onClick={() => flip(part)}>
                  M
                </button>
                <button
                  aria-pressed={solo === part}
                  aria-label={t("mixer.only", { part: name })}
                  onClick={() => setSolo(solo === part ? null : part)}
                >
                  S
                </button>
                <label class="volume">
                  <span class="hidden">{t("mixer.volume", { part: name })}</span>
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
              {player && loaded ? (
                <Waveform
                  peaks={loaded.peaks}
                  duration={duration}
                  time={time}
                  color={color}
                  loop={player.loop}
                  onSeek={(seconds) => void player.seek(seconds)}
                  onLoop={(loop) => void player.repeat(loop)}
                />
              ) : (
                <div class="wave empty" />
              )}
            </div>
          );
        })}
      <p class="soft keys">{mixes ? t("mixer.keys", { sides: joined(sides.map(({ words }) => words)) }) : t("mixer.keys.alone")}</p>
    </div>
  );
}
