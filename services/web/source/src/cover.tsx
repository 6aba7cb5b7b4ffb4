/** One cover: on its way, finished or failed. */
import { useEffect, useRef, useState } from "preact/hooks";
import { again } from "./again";
import { post, type Settings } from "./api";
import { isActive, useJob, useTask, useTitle } from "./hooks";
import { joined, percent, t } from "./i18n/language";
import { later } from "./later";
import { SettingsForm } from "./maker";
import { coverSides, type Gains, Mixer, PARTS, sources } from "./mixer";
import { Card, Download, Music, Trouble } from "./parts";
import type { Job } from "./schema";
import { Ended, Underway, useNotice } from "./underway";
import { Verdict } from "./verdict";

const Video = later(() => import("./video").then((found) => found.Video));

export function CoverView({ id, formats }: { id: string; formats: readonly string[] }) {
  const { job, stages, problem } = useJob("covers", id);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), [id]);
  useTitle(job ? [job.state === "running" && percent(job.progress.fraction), job.name].filter(Boolean).join(" · ") : "");
  useNotice(job);
  return (
    <article class="cover">
      <h1 ref={heading} tabIndex={-1}>
        {job?.name ?? t("cover")} {job && <span class="soft">{t("cover.singers", { singers: joined(job.singers) })}</span>}
      </h1>
      <Trouble problem={problem} />
      {job && isActive(job) && <Underway job={job} stages={stages} />}
      {job?.state === "done" && <Finished job={job} formats={formats} />}
      {job && (
        <Ended job={job}>
          <TryAgain job={job} />
        </Ended>
      )}
    </article>
  );
}

function Finished({ job, formats }: { job: Job; formats: readonly string[] }) {
  const [gains, setGains] = useState<Gains>({});
  return (
    <>
      <Card title={t("listen")}>
        <Music job={job} />
        <Mixer
          id={job.id}
          parts={PARTS.filter(({ part }) => job.stems[part])}
          sides={coverSides()}
          sources={() => sources(job)}
          duration={job.result?.duration ?? 0}
          song={job.inputs.song}
          start={job.settings.song?.start ?? 0}
          gains={gains}
          onGains={setGains}
        />
      </Card>
      <div class="two">
        <Verdict job={job} />
        <Card title={t("cover.downloads")}>
          <div class="downloads">
            {job.audio && <Download file={job.audio} words={t("cover")} />}
            {PARTS.map(({ part }) => job.stems[part] && <Download key={part} file={job.stems[part]} words={t(`stem.${part}`)} />)}
            {job.audio && <Video job={job} />}
          </div>
        </Card>
      </div>
      <Again job={job} gains={gains} formats={formats} />
    </>
  );
}

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
    <Card title={t("again.title")}>
      <p class="soft">{t("again.about")}</p>
      <SettingsForm settings={settings} onChange={setSettings} formats={formats} />
      <button class="primary" disabled={busy} onClick={make}>
        {t("again.make")}
      </button>
      <Trouble problem={problem} />
    </Card>
  );
}

function TryAgain({ job }: { job: Job }) {
  const { busy, problem, run } = useTask();
  return (
    <>
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
        {t("try-again")}
      </button>
      <Trouble problem={problem} />
    </>
  );
}
