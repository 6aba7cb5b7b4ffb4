/** A song taken apart: which stems, how long that takes, and its stems in the mixer. */
import { useEffect, useRef, useState } from "preact/hooks";
import { type Problem, post, told } from "./api";
import { isActive, useJob, useTask, useTitle } from "./hooks";
import { moment, t } from "./i18n/language";
import { type Gains, Mixer, type Part } from "./mixer";
import { Delete } from "./notes";
import { Card, Download, Music, Trouble } from "./parts";
import type { Job, JobEstimate, SeparationRequest, Song } from "./schema";
import { aboutWords, Ended, Underway, useNotice } from "./underway";

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

/** Chooses stems of `song` and has them made; lists `separations`, those that were made before. */
export function Apart({ song, separations }: { song: Song; separations: readonly Job[] }) {
  const [opened, setOpened] = useState(false);
  const [found, setFound] = useState<ReadonlyMap<string, Awaited<ReturnType<typeof possible>>>>(new Map());
  const [chosen, setChosen] = useState<Choice["name"]>("2");
  const { busy, problem, run } = useTask();
  useEffect(() => {
    if (!opened) return;
    for (const choice of CHOICES) possible(song.id, choice).then((what) => setFound((before) => new Map(before).set(choice.name, what)));
  }, [song.id, opened]);
  const way = found.get(chosen);
  const make = () =>
    run(async () => {
      if (!way || way instanceof Error) return;
      const job = await post<Job>("v1/separations", { ...way.body, song: song.id });
      location.hash = `/separations/${job.id}`;
    });
  return (
    <>
      <details onToggle={(event) => setOpened(event.currentTarget.open || opened)}>
        <summary>{t("apart.choose")}</summary>
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
      </details>
      {separations.length > 0 && (
        <ul class="rows" aria-label={t("apart.before")}>
          {separations.map((job) => (
            <li key={job.id}>
              <a href={`#/separations/${job.id}`}>
                <strong>{stemsOf(job)}</strong>
                <small>{moment(job.created)}</small>
              </a>
              {!isActive(job) && (
                <div class="deeds">
                  <Delete path={`v1/separations/${job.id}`} name={`${job.name}, ${stemsOf(job)}`} />
                </div>
              )}
            </li>
          ))}
        </ul>
      )}
    </>
  );
}

function stemsOf(job: Job): string {
  const names = STEMS.filter(({ part }) => job.stems[part]).map(({ part }) => t(`part.${part}`));
  return names.join(", ") || t(`state.${job.state}`);
}

export function SeparationView({ id }: { id: string }) {
  const { job, stages, problem } = useJob("separations", id);
  const [gains, setGains] = useState<Gains>({});
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), [id]);
  useTitle(job?.name ?? "");
  useNotice(job);
  return (
    <article class="cover">
      <h1 ref={heading} tabIndex={-1}>
        {job?.name ?? t("apart.stems")} <span class="soft">{t("apart.about")}</span>
      </h1>
      <Trouble problem={problem} />
      {job && isActive(job) && <Underway job={job} stages={stages} />}
      {job?.state === "done" && <Stems job={job} gains={gains} onGains={setGains} />}
      {job && <Ended job={job} />}
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
