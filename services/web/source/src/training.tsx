/** A training: how far it is, how its checkpoints score, and what they sound like. */
import { useEffect, useRef, useState } from "preact/hooks";
import { ask } from "./api";
import { isActive, useFollowed, useTask, useTitle } from "./hooks";
import { explained, number, percent, quantity, t } from "./i18n/language";
import { Bar, Card, Choice, Trouble } from "./parts";
import type { Outcome as Kept, Training } from "./schema";

interface Evaluation {
  step: number;
  scores: Record<string, number>;
}

type Told = Pick<Training, "step" | "of" | "seconds_left" | "losses"> & {
  kind?: string;
  total?: number;
  stage?: string;
  title?: string;
  evaluation?: Record<string, number>;
};

/** A training as it is now, followed by its events, and all its evaluations. */
function useTraining(id: string) {
  const [evaluations, setEvaluations] = useState<Evaluation[]>([]);
  const followed = useFollowed<Training>(
    `v1/trainings/${id}`,
    (event, change) => {
      const now = event.data as unknown as Told;
      if (event.type === "progress")
        change((job) => ({
          ...job,
          progress: { fraction: now.total ?? job.progress.fraction, stage: now.stage ?? null, title: now.title ?? null },
          ...(now.kind === "steps" && { step: now.step, of: now.of, losses: now.losses, seconds_left: now.seconds_left }),
        }));
      else if (event.type === "training" && now.kind === "evaluation" && now.step !== null && now.evaluation) {
        const made = { step: now.step, scores: now.evaluation };
        // a training that went on from an earlier state evaluates some steps again
        setEvaluations((before) => [...before.filter((one) => one.step < made.step), made]);
        void followed.reload(); // it has new samples
      }
    },
    true,
  );
  return { ...followed, evaluations };
}

export function TrainingView({ id, onEnd }: { id: string; onEnd: () => void }) {
  const { job, evaluations, problem, reload } = useTraining(id);
  const active = job && isActive(job);
  const was = useRef(active);
  useEffect(() => {
    if (was.current && active === false) onEnd();
    was.current = active;
  }, [active]);
  useTitle(job?.state === "running" ? `${percent(job.progress.fraction)} · ${job.name}` : (job?.name ?? ""));
  return (
    <>
      <Trouble problem={problem} />
      {job && (active ? <Underway job={job} onChange={reload} /> : <Outcome job={job} />)}
      {job && evaluations.length > 0 && <Scores evaluations={evaluations} best={job.best} />}
      {job && Object.keys(job.samples).length > 0 && <Samples job={job} />}
    </>
  );
}

function Underway({ job, onChange }: { job: Training; onChange: () => Promise<void> }) {
  const { busy, problem, run } = useTask();
  const act = (path: string, method: string) =>
    run(async () => {
      await ask(`v1/trainings/${job.id}${path}`, { method });
      await onChange();
    });
  const title = t(job.state === "queued" ? "training.queued" : job.state === "paused" ? "training.paused" : "training");
  const waits = job.ahead ? t("training.ahead", { count: job.ahead }) : t("training.room");
  return (
    <Card title={title}>
      <p aria-live="polite" aria-atomic="true">
        <strong>
          {job.state === "queued" ? waits : job.step ? t("training.step", { step: job.step, of: job.of ?? 0 }) : t("training.preparing")}
        </strong>
      </p>
      <Bar label={t("underway.bar")} fraction={job.progress.fraction} />
      <dl class="figures">
        {job.seconds_left !== null && job.state === "running" && (
          <>
            <dt>{t("training.left")}</dt>
            <dd>
              {duration(job.seconds_left)} <small>{t("training.left.about")}</small>
            </dd>
          </>
        )}
        {LOSSES.filter((name) => job.losses[name] !== undefined).map((name) => (
          <>
            <dt>{t(`loss.${name}`)}</dt>
            <dd>{number(job.losses[name]!, 2)}</dd>
          </>
        ))}
        {job.best !== null && (
          <>
            <dt>{t("training.best")}</dt>
            <dd>{t("step", { step: job.best })}</dd>
          </>
        )}
      </dl>
      <Sentences job={job} />
      <div class="row">
        {job.state === "paused" || job.pausing ? (
          <button class="primary" disabled={busy || job.cancelling} onClick={() => act("/resume", "POST")}>
            {t("training.resume")}
          </button>
        ) : (
          <button disabled={busy || job.cancelling} onClick={() => act("/pause", "POST")}>
            {t("pause")}
          </button>
        )}
        <button disabled={busy || job.cancelling} onClick={() => act("", "DELETE")}>
          {t(job.best !== null && job.state === "running" ? "training.end" : "cancel")}
        </button>
        <span class="soft" aria-live="polite">
          {job.cancelling ? t("training.ending") : job.pausing ? t("training.pausing") : ""}
        </span>
      </div>
      <Trouble problem={problem} />
    </Card>
  );
}

function Outcome({ job }: { job: Training }) {
  const kept = job.result;
  const tuned = job.settings.engine === "zero-shot";
  const title =
    job.state === "failed"
      ? "training.failed"
      : kept
        ? "training.done"
        : job.state === "expired"
          ? "training.expired"
          : "training.cancelled";
  return (
    <Card title={t(title)}>
      {job.error && (
        <p role="alert">
          <strong>{explained(job.error)}</strong>
        </p>
      )}
      {kept && (
        <>
          <p class={kept.default || (tuned && kept.published) ? "verdict" : "verdict mind"}>
            <strong>{singsWords(kept, tuned)}</strong> {kept.reason}
          </p>
          <p>
            {kept.ended} {kept.advice[0] && t("training.advice", { advice: kept.advice[0] })}
          </p>
        </>
      )}
      <Sentences job={job} />
      {job.report && (
        <a href={job.report.href} target="_blank" rel="noopener">
          {t("report")}
        </a>
      )}
    </Card>
  );
}

function singsWords(kept: Kept, tuned: boolean): string {
  if (kept.default) return t("training.better");
  if (!tuned) return t("training.worse");
  return kept.published ? t("training.tuned", { engine: t("engine.zero-shot") }) : t("training.untuned");
}

function Sentences({ job }: { job: Training }) {
  const sentences = [...job.findings.map((one) => [one.severity, one.sentence]), ...job.warnings.map((one) => ["advice", one])];
  if (!sentences.length) return null;
  return (
    <details>
      <summary>{t("training.noticed", { count: sentences.length })}</summary>
      <ul class="findings">
        {sentences.map(([severity, sentence]) => (
          <li key={sentence} class={severity}>
            {sentence}
          </li>
        ))}
      </ul>
    </details>
  );
}

const LOSSES = ["mel", "kl", "discriminator", "flow"] as const;
const SCORES = [
  ["similarity", (value: number) => number(value, 3)],
  ["intelligibility", (value: number) => number(value, 3)],
  ["f0_error", (value: number) => percent(value, 1)],
  ["mel_distance", (value: number) => number(value, 2)],
  ["held_out", (value: number) => number(value, 4)],
] as const;

/** The held-out scores over the steps: one as a curve, all as a table. */
function Scores({ evaluations, best }: { evaluations: Evaluation[]; best: number | null }) {
  const known = SCORES.filter(([name]) => evaluations.some((one) => one.scores[name] !== undefined));
  const [chosen, setChosen] = useState("");
  const [name, text] = known.find(([name]) => name === chosen) ?? known[0] ?? SCORES[0];
  const points = evaluations.filter((one) => one.scores[name] !== undefined).map((one) => ({ step: one.step, value: one.scores[name]! }));
  return (
    <Card title={t("scores")}>
      <p class="soft">{t(name === "held_out" ? "scores.about.held_out" : "scores.about")}</p>
      <Choice label={t("scores.curve")} value={name} options={known.map(([one]) => [one, t(`score.${one}`)])} onChange={setChosen} />
      <Curve points={points} best={best} text={text} />
      <details>
        <summary>{t("scores.table")}</summary>
        <div class="scrolling" tabIndex={0} role="region" aria-label={t("scores.region")}>
          <table>
            <caption class="hidden">{t("scores.region")}</caption>
            <thead>
              <tr>
                <th scope="col">{t("scores.step")}</th>
                {known.map(([one]) => (
                  <th scope="col" key={one}>
                    {t(`score.${one}`)}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {evaluations.map((one) => (
                <tr key={one.step}>
                  <th scope="row">
                    {number(one.step)} {one.step === best && `(${t("best")})`}
                  </th>
                  {known.map(([name, text]) => (
                    <td key={name}>{one.scores[name] === undefined ? "–" : text(one.scores[name])}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </Card>
  );
}

const WIDTH = 640;
const HEIGHT = 160;

function Curve({
  points,
  best,
  text,
}: {
  points: { step: number; value: number }[];
  best: number | null;
  text: (value: number) => string;
}) {
  const low = Math.min(...points.map((one) => one.value));
  const high = Math.max(...points.map((one) => one.value));
  const first = points[0]?.step ?? 0;
  const last = points[points.length - 1]?.step ?? 1;
  const x = (step: number) => 8 + ((WIDTH - 16) * (step - first)) / Math.max(1, last - first);
  const y = (value: number) => 8 + (HEIGHT - 16) * (high > low ? 1 - (value - low) / (high - low) : 0.5);
  return (
    <figure class="curve" aria-hidden="true">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`}>
        <polyline points={points.map((one) => `${x(one.step)},${y(one.value)}`).join(" ")} />
        {points.map((one) => (
          <circle key={one.step} cx={x(one.step)} cy={y(one.value)} r={one.step === best ? 7 : 3} class={one.step === best ? "best" : ""} />
        ))}
      </svg>
      <figcaption class="spread">
        <small>
          {t("step", { step: first })} {last > first && `– ${number(last)}`}
        </small>
        <small>{high > low ? `${text(low)} – ${text(high)}` : points.length ? text(low) : ""}</small>
      </figcaption>
    </figure>
  );
}

/** One clip, as it was and as each kept checkpoint makes it. */
function Samples({ job }: { job: Training }) {
  const clips = [...new Set(Object.keys(job.samples).map((name) => name.split("/")[1]!))].sort();
  const [chosen, setChosen] = useState("");
  const clip = clips.includes(chosen) ? chosen : clips[0]!;
  const versions = Object.keys(job.samples)
    .filter((name) => name.endsWith(`/${clip}`))
    .map((name) => name.split("/")[0]!)
    .sort((a, b) => order(a) - order(b));
  return (
    <Card title={t("listen")}>
      <Choice label={t("samples.clip")} value={clip} options={clips.map((one) => [one, clipWords(one)])} onChange={setChosen} />
      <ul class="takes samples">
        {versions.map((version) => (
          <li key={version}>
            <span>
              {versionWords(version)} {Number(version) === job.best && <small>{t("best")}</small>}
            </span>
            <audio
              controls
              preload="none"
              src={job.samples[`${version}/${clip}`]!.href}
              aria-label={`${versionWords(version)}, ${clipWords(clip)}`}
            />
          </li>
        ))}
      </ul>
    </Card>
  );
}

/** The original first, then the instant voice, then the newest checkpoint. */
function order(version: string): number {
  return version === "original" ? -2 : version === "instant" ? -1 : 1 / (Number(version) + 1);
}

function versionWords(version: string): string {
  if (version === "original") return t("samples.original");
  return version === "instant" ? t("engine.instant") : t("samples.step", { step: Number(version) });
}

function clipWords(clip: string): string {
  const [kind, place] = clip.split("-");
  return t(kind === "held" ? "samples.held" : "samples.other", { number: Number(place) + 1 });
}

function duration(seconds: number): string {
  if (seconds < 5400) return quantity(Math.max(1, Math.round(seconds / 60)), "minute");
  return seconds < 172800 ? quantity(Math.round(seconds / 3600), "hour") : quantity(Math.round(seconds / 86400), "day");
}
