/** A song taken apart: which stems, how long that takes, and its stems in the mixer. */
import { useEffect, useRef, useState } from "preact/hooks";
import { list, type Problem, post, told } from "./api";
import { isActive, useJob, useTask, useTitle } from "./hooks";
import { explained, moment, t } from "./i18n/language";
import { type Gains, Mixer, type Part } from "./mixer";
import { Card, Download, Music, Trouble } from "./parts";
import type { Job, JobEstimate, SeparationRequest, Song } from "./schema";
import { aboutWords, Underway } from "./underway";

type Body = Omit<SeparationRequest, "song">;

/** A choice of stems, named by how many there are. `ways`: what gives them, the best one first; this server may lack the models of some. */
interface Choice {
  name: "2" | "4" | "6" | "karaoke";
  stems: NonNullable<Body["stems"]>;
  ways: Body[];
}

function models(...names: string[]): Body[] {
  return names.map((model) => ({ settings: { separation: { model } } }));
}

const CHOICES: readonly Choice[] = [
  { name: "2", stems: ["vocals", "instrumental"], ways: [{ preset: "balanced" }, { preset: "fast" }, {}] },
  {
    name: "4",
    stems: ["vocals", "drums", "bass", "other"],
    ways: models("htdemucs-ft", "htdemucs"),
  },
  {
    name: "6",
    stems: ["vocals", "drums", "bass", "guitar", "piano", "other"],
    ways: models("bs-roformer-sw", "htdemucs-6s"),
  },
  {
    name: "karaoke",
    stems: ["lead", "backing", "instrumental"],
    ways: [{ preset: "balanced" }],
  },
];

const STEMS: readonly Part[] = [
  { part: "vocals", color: "--cover" },
  { part: "lead", color: "--cover" },
  { part: "backing", color: "--good" },
  { part: "instrumental", color: "--song" },
  { part: "drums", color: "--song" },
  { part: "bass", color: "--mind" },
  { part: "guitar", color: "--good" },
  { part: "piano", color: "--wrong" },
  { part: "other", color: "--soft" },
];

/** What this server can do of a choice: the first way that it has the models for, and what that takes; or why none. */
async function possible(song: string, { stems, ways }: Choice): Promise<{ body: Body; estimate: JobEstimate } | Problem> {
  let problem: Problem | null = null;
  for (const way of ways) {
    const body: Body = { ...way, stems, midi: stems.includes("vocals") ? ["vocals"] : [] };
    try {
      return { body, estimate: await post<JobEstimate>("v1/separations/estimate", { ...body, song }) };
    } catch (error) {
      problem = told(error);
      if (!/^(models?|separator|preset|stem)-/.test(problem.code)) break;
    }
  }
  return problem!;
}

/** Chooses stems of `song` and has them made; lists those that were made before. */
export function Apart({ song }: { song: Song }) {
  const [found, setFound] = useState<ReadonlyMap<string, Awaited<ReturnType<typeof possible>>>>(new Map());
  const [made, setMade] = useState<readonly Job[]>([]);
  const [chosen, setChosen] = useState<Choice["name"]>("2");
  const { busy, problem, run } = useTask();
  useEffect(() => {
    for (const choice of CHOICES) possible(song.id, choice).then((what) => setFound((before) => new Map(before).set(choice.name, what)));
    list<Job>("v1/separations", { song: song.id }).then(setMade, () => undefined);
  }, [song.id]);
  const way = found.get(chosen);
  const make = () =>
    run(async () => {
      if (!way || way instanceof Error) return;
      const job = await post<Job>("v1/separations", { ...way.body, song: song.id });
      location.hash = `/separations/${job.id}`;
    });
  return (
    <>
      <div role="radiogroup" aria-label={t("apart.stems")}>
        {CHOICES.map(({ name }) => {
          const what = found.get(name);
          const missing = what instanceof Error;
          return (
            <label class="choice" key={name}>
              <input type="radio" name="stems" disabled={missing} checked={chosen === name} onChange={() => setChosen(name)} />
              <span>
                {t(`apart.${name}`)} <small>{missing ? t("apart.missing") : what && aboutWords(what.estimate.seconds)}</small>
              </span>
            </label>
          );
        })}
      </div>
      <p>
        <button class="primary" disabled={busy || !way || way instanceof Error} onClick={make}>
          {t("apart.make")}
        </button>
      </p>
      <Trouble problem={problem} />
      {made.length > 0 && (
        <ul class="rows" aria-label={t("apart.before")}>
          {made.map((job) => (
            <li key={job.id}>
              <a href={`#/separations/${job.id}`}>
                <strong>{stemsOf(job)}</strong>
                <small>{moment(job.created)}</small>
              </a>
            </li>
          ))}
        </ul>
      )}
    </>
  );
}

function stemsOf(job: Job): string {
  const names = STEMS.filter(({ part }) => job.stems[part]).map(({ part }) => t(`part.${part}`));
  return names.join(", ") || t(isActive(job) ? "state.running" : "state.failed");
}

export function SeparationView({ id }: { id: string }) {
  const { job, stages, problem } = useJob("separations", id);
  const [gains, setGains] = useState<Gains>({});
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), [id]);
  useTitle(job?.name ?? "");
  return (
    <article class="cover">
      <h1 ref={heading} tabIndex={-1}>
        {job?.name ?? t("apart.stems")} <span class="soft">{t("apart.about")}</span>
      </h1>
      <Trouble problem={problem} />
      {job && isActive(job) && <Underway job={job} stages={stages} />}
      {job?.state === "done" && <Stems job={job} gains={gains} onGains={setGains} />}
      {job?.error && (
        <Card title={t("ended.failed")}>
          <p role="alert">
            <strong>{explained(job.error)}</strong>
          </p>
        </Card>
      )}
      {job?.inputs.song && <a href={`#/songs/${job.inputs.song}`}>{t("apart.song")}</a>}
    </article>
  );
}

function Stems({ job, gains, onGains }: { job: Job; gains: Gains; onGains: (gains: Gains) => void }) {
  const sides = [
    { side: "cover", words: t("side.stems") },
    { side: "original", words: t("side.original") },
  ];
  const parts = STEMS.filter(({ part }) => job.stems[part]);
  const { result } = job;
  const original = job.inputs.song ? [`v1/songs/${job.inputs.song}/audio`] : [];
  return (
    <>
      <Card title={t("listen")}>
        <Music job={job} />
        <Mixer
          id={job.id}
          parts={parts}
          sides={sides}
          sources={() => ({
            stream: original.map((href) => ({ href, type: "" })),
            stems: Object.fromEntries(parts.map(({ part }) => [part, job.stems[part]!.href])),
            wholes: original.length ? { original: { addresses: original, offset: job.settings.song?.start ?? 0, gain: 0 } } : {},
            duration: result?.duration ?? 0,
            stemGain: result?.stem_gain ?? 0,
            peak: 0,
          })}
          duration={result?.duration ?? 0}
          song={job.inputs.song}
          start={job.settings.song?.start ?? 0}
          gains={gains}
          onGains={onGains}
        />
      </Card>
      <Card title={t("cover.downloads")}>
        <div class="downloads">
          {parts.map(({ part }) => (
            <Download key={part} file={job.stems[part]!} words={t(`part.${part}`)} />
          ))}
          {job.midi?.vocals && <Download file={job.midi.vocals} words={t("apart.midi")} />}
        </div>
      </Card>
    </>
  );
}
