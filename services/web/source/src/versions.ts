/** The covers of a song as its versions, numbered, with words for what differs from the version before. */
import { number as figure, joined, percent, t } from "./i18n/language";
import type { CoverSettings, Job, ResultFile, Song } from "./schema";

/** `number`: from 1, by age, among the covers of its song. `changes`: what differs from the version before with the same
 * singers; empty for the first one. */
export interface Version {
  job: Job;
  number: number;
  changes: string;
}

/** A song with its versions, the newest first; `song` is missing where it was deleted and its covers stay. */
export interface SongGroup {
  id: string;
  title: string;
  song: Song | undefined;
  versions: Version[];
}

/** The title of its tags, or the name of its file without what says its format. */
export function titleOf(song: Song): string {
  return song.title ?? (song.name.replace(/\.[a-z0-9]{2,4}$/i, "") || song.name);
}

/** The whole cover in several formats, the smallest first. */
export function soundsOf({ stream, audio }: Job): ResultFile[] {
  return [stream, audio].filter((file) => file !== null);
}

/** "v2 · Nova", and what is different about it. */
export function versionWords({ number, job, changes }: Version): string {
  return [`v${number}`, joined(job.singers), changes].filter(Boolean).join(" · ");
}

/** Every song and every cover, in groups: the group with the latest song or cover first. `covers`: newest first. */
export function bySong(songs: readonly Song[], covers: readonly Job[]): SongGroup[] {
  const groups = new Map<string, SongGroup>();
  for (const song of songs) groups.set(song.id, { id: song.id, title: titleOf(song), song, versions: [] });
  const latest = new Map(songs.map((song) => [song.id, song.created]));
  for (const job of [...covers].reverse()) {
    const id = songOf(job);
    const group = groups.get(id) ?? { id, title: job.name, song: undefined, versions: [] };
    const before = group.versions.find((one) => joined(one.job.singers) === joined(job.singers));
    const changes = before ? differences(before.job, job) : "";
    group.versions.unshift({ job, number: group.versions.length + 1, changes });
    groups.set(id, group);
    latest.set(id, job.created);
  }
  return [...groups.values()].sort((one, other) => latest.get(other.id)!.localeCompare(latest.get(one.id)!));
}

/** The groups without what is hidden: paths of songs and covers. */
export function visible(groups: readonly SongGroup[], hidden: ReadonlySet<string>): SongGroup[] {
  if (!hidden.size) return [...groups];
  return groups
    .map((group) => ({
      ...group,
      song: hidden.has(`v1/songs/${group.id}`) ? undefined : group.song,
      versions: group.versions.filter(({ job }) => !hidden.has(`v1/covers/${job.id}`)),
    }))
    .filter((group) => group.song || group.versions.length);
}

/** The song that a cover is of; of own stems, the instrumental. */
export function songOf(job: Job): string {
  return job.inputs.song ?? job.inputs.instrumental ?? job.id;
}

/** The versions of all songs by who sings them, each with its song's group; the singer of the latest one first. */
export function bySinger(groups: readonly SongGroup[]): { singers: string; sung: { group: SongGroup; version: Version }[] }[] {
  const found = new Map<string, { group: SongGroup; version: Version }[]>();
  const all = groups.flatMap((group) => group.versions.map((version) => ({ group, version })));
  for (const one of all.sort((a, b) => b.version.job.created.localeCompare(a.version.job.created))) {
    const singers = joined(one.version.job.singers);
    found.set(singers, [...(found.get(singers) ?? []), one]);
  }
  return [...found].map(([singers, sung]) => ({ singers, sung }));
}

/** The groups that have every word of `text` in their title, artist or file name, whole; of the others those versions
 * that have, together with these. */
export function matching(groups: readonly SongGroup[], text: string): SongGroup[] {
  const words = folded(text).split(/\s+/).filter(Boolean);
  const has = (...texts: (string | null | undefined)[]) => words.every((word) => folded(texts.join(" ")).includes(word));
  return groups.flatMap((group) => {
    const about = [group.title, group.song?.artist, group.song?.name];
    if (has(...about)) return [group];
    const versions = group.versions.filter((one) => has(...about, versionWords(one), one.job.name));
    return versions.length ? [{ ...group, versions }] : [];
  });
}

/** Without case and accents. */
function folded(text: string): string {
  return text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
}

type Setting = string | number | boolean | null | undefined;

const GAINS = ["remix.vocal_gain", "remix.instrumental_gain", "remix.backing_gain", "remix.reverb_gain", "remix.noise_gain"] as const;

/** What `after` has and `before` had not, in words; of settings that aren't heard nothing. */
function differences(before: Job, after: Job): string {
  const [old, now] = [flat(before.settings), flat(after.settings)];
  const words: string[] = [];
  if (before.engine !== after.engine && after.engine) words.push(t(after.engine === "rvc" ? "change.trained" : "change.instant"));
  for (const name of Object.keys(now)) {
    if (String(old[name]) === String(now[name]) || /^(output\.(name|keep_stems)|tags|provenance)/.test(name)) continue;
    words.push(difference(name, old[name], now[name], after.settings));
  }
  return [...new Set(words)].join(", ") || t("change.none");
}

function difference(name: string, old: Setting, now: Setting, { song }: CoverSettings): string {
  const gain = GAINS.find((one) => one === name);
  if (gain) {
    const part = t(`change.${gain}`);
    return now == null ? t("change.without", { what: part }) : `${part} ${signed(Number(now) - Number(old ?? 0))} dB`;
  }
  if (name.startsWith("song.")) return t(song?.start || song?.duration ? "change.part" : "change.whole");
  if (name === "transpose")
    return now === "auto"
      ? t("change.octave.auto")
      : now === 0
        ? t("change.octave.original")
        : t("change.octave", { semitones: signed(Number(now)) });
  if (name === "key") return now === 0 ? t("change.key.original") : t("change.key", { semitones: signed(Number(now)) });
  if (name === "conversion.index_rate") return t("change.likeness", { percent: percent(Number(now)) });
  if (name === "conversion.formant_shift") return t("change.size", { semitones: signed(Number(now)) });
  if (name === "output.format") return t("change.format", { format: String(now) });
  if (name === "output.video") return t(now ? "change.video" : "change.no-video");
  const words = name.split(".").pop()!.replaceAll("_", " ");
  if (name.startsWith("separation."))
    return name === "separation.model" ? t("change.separation.model", { model: String(now) }) : t("change.separation");
  if (now === null || now === false) return t("change.without", { what: words });
  return now === true ? words : `${words} ${now}`;
}

function signed(value: number): string {
  return `${value > 0 ? "+" : value < 0 ? "−" : "±"}${figure(Number(Math.abs(value).toFixed(1)))}`;
}

/** Settings by their dotted names. */
function flat(settings: object, prefix = ""): Record<string, Setting> {
  return Object.fromEntries(
    Object.entries(settings).flatMap(([name, value]: [string, Setting | object]) =>
      value && typeof value === "object" && !Array.isArray(value)
        ? Object.entries(flat(value, `${prefix}${name}.`))
        : [[`${prefix}${name}`, value as Setting]],
    ),
  );
}
