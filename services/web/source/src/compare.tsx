/** Two versions of a song and the original, in step and equally loud. */
import { useState } from "preact/hooks";
import { t } from "./i18n/language";
import { Choice } from "./parts";
import type { Sources, Whole } from "./player";
import type { Job, Song } from "./schema";
import { LONGEST, Loading, type Side, Sides, Transport, useKeys, usePlayer } from "./transport";
import { Tuning } from "./tuning";
import { soundsOf, type Version, versionWords } from "./versions";
import { Waveform } from "./waveform";

/** The versions that can be heard in step with `one`: those of the same part of the song. */
export function inStep(one: Job, versions: readonly Version[]): Version[] {
  const part = ({ settings: { song } }: Job) => `${song?.start ?? 0} ${song?.duration ?? ""}`;
  return versions.filter(({ job }) => part(job) === part(one));
}

/** A version, another one, and the original where the song is there still, each at the loudness of the first. */
export function comparison(a: Job, b: Job | undefined, song: Song | undefined): Sources {
  const loudness = a.result?.loudness;
  const gain = (of: number | null | undefined) => (of != null && loudness?.cover != null ? loudness.cover - of : 0);
  const whole = (job: Job): Whole => ({
    addresses: soundsOf(job).map(({ href }) => href),
    offset: 0,
    gain: gain(job.result?.loudness?.cover),
  });
  const wholes: Record<string, Whole> = { a: whole(a) };
  if (b) wholes.b = whole(b);
  if (song) wholes.original = { addresses: [song.audio], offset: a.settings.song?.start ?? 0, gain: gain(loudness?.song) };
  return {
    stream: soundsOf(a),
    stems: {},
    wholes,
    duration: a.result?.duration ?? 0,
    stemGain: 0,
    peak: 0,
  };
}

interface Props {
  song: Song | undefined;
  versions: readonly Version[]; // finished ones, the newest first; one at least
}

export function Compare({ song, versions }: Props) {
  const [chosen, setChosen] = useState<{ a?: string; b?: string }>({});
  const find = (id: string | undefined) => versions.find(({ job }) => job.id === id);
  const a = find(chosen.a) ?? versions[0]!;
  const others = inStep(a.job, versions).filter(({ job }) => job.id !== a.job.id);
  const b = others.find(({ job }) => job.id === chosen.b) ?? others[0];
  const duration = a.job.result?.duration ?? 0;
  const loads = duration <= LONGEST;
  const sources = () => comparison(a.job, b?.job, song);
  const { player, failed } = usePlayer(`${a.job.id} ${b?.job.id} ${song?.id}`, loads, sources);
  const sides: Side[] = [
    { side: "a", words: `v${a.number}` },
    ...(b ? [{ side: "b", words: `v${b.number}` }] : []),
    ...(song ? [{ side: "original", words: t("side.original") }] : []),
  ];
  useKeys(player, sides);
  const side = player?.side ?? "a";
  const part = player?.ready ? player.parts.get(side) : undefined;
  const options = (of: readonly Version[]) => of.map((one) => [one.job.id, versionWords(one)] as const);
  return (
    <div class="mixer" aria-busy={loads && !player?.ready && !failed}>
      <Transport player={player} duration={duration}>
        {sides.length > 1 && <Sides player={player} sides={sides} />}
      </Transport>
      <Tuning player={player} />
      {player && part ? (
        <Waveform
          peaks={part.peaks}
          duration={duration}
          time={player.time}
          color={side === "original" ? "--song" : side === "b" ? "--good" : "--cover"}
          loop={player.loop}
          onSeek={(seconds) => void player.seek(seconds)}
          onLoop={(loop) => void player.repeat(loop)}
        />
      ) : (
        <div class="wave empty" />
      )}
      {versions.length > 1 && (
        <div class="settings">
          <Choice label="A" value={a.job.id} options={options(versions)} onChange={(id) => setChosen({ ...chosen, a: id })} />
          {b && <Choice label="B" value={b.job.id} options={options(others)} onChange={(id) => setChosen({ ...chosen, b: id })} />}
        </div>
      )}
      {failed ? (
        <p class="soft">{t("compare.failed")}</p>
      ) : loads && !player?.ready ? (
        <Loading player={player}>{t("compare.loading")}</Loading>
      ) : (
        <p class="soft keys">{t("compare.keys", { letters: sides.map((_, at) => "ABC"[at]).join(", ") })}</p>
      )}
    </div>
  );
}
