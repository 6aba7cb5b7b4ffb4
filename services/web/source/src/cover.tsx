/** One cover: on its way, finished or failed. */
import { useEffect, useRef, useState } from "preact/hooks";
import { again } from "./again";
import { post, type Settings } from "./api";
import { isActive, useJob, useTask, useTitle } from "./hooks";
import { SettingsForm } from "./maker";
import { type Gains, Mixer, PARTS, SIDES, sources } from "./mixer";
import { Card, Download, joined, Trouble } from "./parts";
import type { Job } from "./schema";
import { Underway, useNotice } from "./underway";
import { Verdict } from "./verdict";

export function CoverView({ id, formats }: { id: string; formats: readonly string[] }) {
  const { job, stages, problem } = useJob("covers", id);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), [id]);
  const percent = job?.state === "running" ? `${Math.round(100 * job.progress.fraction)} % · ` : "";
  useTitle(job ? percent + job.name : "");
  useNotice(job);
  return (
    <article class="cover">
      <h1 ref={heading} tabIndex={-1}>
        {job?.name ?? "Cover"} {job && <span class="soft">sung by {joined(job.singers)}</span>}
      </h1>
      <Trouble problem={problem} />
      {job && isActive(job) && <Underway job={job} stages={stages} />}
      {job?.state === "done" && <Finished job={job} formats={formats} />}
      {job && ["failed", "cancelled", "expired"].includes(job.state) && <Ended job={job} />}
    </article>
  );
}

function Finished({ job, formats }: { job: Job; formats: readonly string[] }) {
  const [gains, setGains] = useState<Gains>({});
  return (
    <>
      <Card title="Listen">
        <Mixer
          id={job.id}
          parts={PARTS.filter(({ part }) => job.stems[part])}
          sides={SIDES}
          sources={() => sources(job)}
          duration={job.result?.duration ?? 0}
          gains={gains}
          onGains={setGains}
        />
      </Card>
      <div class="two">
        <Verdict job={job} />
        <Card title="Take it along">
          <div class="downloads">
            {job.audio && <Download file={job.audio} words="Cover" />}
            {PARTS.map(({ part }) => job.stems[part] && <Download key={part} file={job.stems[part]} words={STEMS[part]} />)}
          </div>
        </Card>
      </div>
      <Again job={job} gains={gains} formats={formats} />
    </>
  );
}

const STEMS: Record<(typeof PARTS)[number]["part"], string> = {
  vocals: "The new vocal alone",
  instrumental: "Karaoke (the band alone)",
  backing: "The backing vocals alone",
  reverb: "The original's reverb alone",
  noise: "The original's noise alone",
};

/** The same song and voice with other settings: what didn't change isn't made again. */
function Again({ job, gains, formats }: { job: Job; gains: Gains; formats: readonly string[] }) {
  const before = job.settings;
  const [settings, setSettings] = useState<Settings>(() => ({
    transpose: before.transpose ?? "auto",
    key: before.key ?? 0,
    conversion: { index_rate: before.conversion?.index_rate ?? 0.5, formant_shift: before.conversion?.formant_shift ?? 0 },
    output: { format: before.output?.format ?? "flac" },
  }));
  const { busy, problem, run } = useTask();
  const make = () =>
    run(async () => {
      const remix = { ...before.remix };
      for (const { part, gain } of PARTS) if (gains[part]) remix[gain] = (before.remix?.[gain] ?? 0) + gains[part];
      const merged = {
        ...before,
        ...settings,
        conversion: { ...before.conversion, ...settings.conversion },
        output: { ...before.output, ...settings.output, keep_stems: true },
        remix,
      };
      const made = await post<Job>("v1/covers", again(job, merged));
      location.hash = `/covers/${made.id}`;
    });
  return (
    <Card title="Change something">
      <p class="soft">The volumes above are taken over. New volumes take seconds; a new octave or likeness is sung again.</p>
      <SettingsForm settings={settings} onChange={setSettings} formats={formats} />
      <button class="primary" disabled={busy} onClick={make}>
        Make it again like this
      </button>
      <Trouble problem={problem} />
    </Card>
  );
}

function Ended({ job }: { job: Job }) {
  const { busy, problem, run } = useTask();
  const words =
    job.state === "cancelled"
      ? "It was stopped."
      : job.state === "expired"
        ? "The result has expired and was removed."
        : job.error?.message;
  return (
    <Card title={job.state === "failed" ? "It could not be made" : job.state === "expired" ? "Gone" : "Stopped"}>
      <p role="alert">
        <strong>{words}</strong> {job.error?.hint}
      </p>
      <button
        class="primary"
        disabled={busy}
        onClick={() =>
          run(async () => {
            const made = await post<Job>("v1/covers", again(job, job.settings));
            location.hash = `/covers/${made.id}`;
          })
        }
      >
        Try again
      </button>
      <Trouble problem={problem} />
    </Card>
  );
}
