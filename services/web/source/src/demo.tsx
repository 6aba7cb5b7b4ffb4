/** What a cover is, to be heard at once: a song of ours before and after. And the same song and voice to begin with. */
import { Problem, upload } from "./api";
import { useTask } from "./hooks";
import { t } from "./i18n/language";
import { Icon, PAUSE, PLAY } from "./icons";
import { Trouble } from "./parts";
import type { Sources } from "./player";
import type { Song, Voice } from "./schema";
import { Sides, useKeys, usePlayer } from "./transport";

const SECONDS = 10; // of both files
const BEFORE_AND_AFTER: Sources = {
  stream: [],
  stems: {},
  wholes: {
    before: { addresses: ["demo/before.m4a"], offset: 0, gain: 0 },
    after: { addresses: ["demo/after.m4a"], offset: 0, gain: 0 },
  },
  duration: SECONDS,
  stemGain: 0,
  peak: 0,
};
const SONG = "song.mp3";
const VOICE = "Demo"; // in every language: by it the voice is found when the demo is tried again
const RECORDINGS = ["singing.flac", "speaking.flac"];

interface Props {
  voices: readonly Voice[];
  onTaken: (song: string, voice: string) => Promise<void>;
}

export function Demo({ voices, onTaken }: Props) {
  const { player } = usePlayer("demo", false, () => BEFORE_AND_AFTER);
  const listening = useTask();
  const taking = useTask();
  const sides = [
    { side: "before", words: t("demo.before") },
    { side: "after", words: t("demo.after") },
  ];
  useKeys(player?.ready ? player : null, sides);

  const press = () =>
    listening.run(async () => {
      if (!player) return;
      if (!player.ready) {
        await player.load();
        await player.repeat({ from: 0, to: SECONDS });
      }
      if (player.playing) player.pause();
      else await player.play();
    });
  const take = () =>
    taking.run(async () => {
      const [song, voice] = [await sent<Song>("v1/songs", "file", [SONG]), voices.find((one) => one.name === VOICE)];
      const about = { name: VOICE, consent: "granted" };
      await onTaken(song.id, (voice ?? (await sent<Voice>("v1/voices", "recordings", RECORDINGS, about))).id);
    });
  return (
    <section class="card demo" aria-label={t("demo.title")}>
      <button class="play" disabled={listening.busy} aria-label={t(player?.playing ? "pause" : "demo.play")} onClick={press}>
        <Icon path={player?.playing ? PAUSE : PLAY} />
      </button>
      <div class="words">
        <strong>{t("demo.hear")}</strong>
        <small>{t("demo.about")}</small>
      </div>
      {player?.ready && <Sides player={player} sides={sides} />}
      <button disabled={taking.busy} onClick={take}>
        {t(taking.busy ? "demo.taking" : "demo.take")}
      </button>
      <Trouble problem={listening.problem ?? taking.problem} />
    </section>
  );
}

/** Files that came with the page, sent to the server like those of its visitors. */
async function sent<T>(path: string, field: string, names: readonly string[], about: Record<string, string> = {}): Promise<T> {
  const form = new FormData();
  for (const [name, value] of Object.entries(about)) form.append(name, value);
  for (const name of names) form.append(field, await fetched(name), name);
  return upload<T>(path, form, () => undefined);
}

async function fetched(name: string): Promise<Blob> {
  const answer = await fetch(`demo/${name}`).catch(() => null);
  if (!answer?.ok) throw new Problem("demo-missing", t("demo.missing"), t("demo.missing.hint"));
  return answer.blob();
}
