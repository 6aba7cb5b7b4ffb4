/** A training: how far it is, how its checkpoints score, and what they sound like. */
import { useEffect, useRef, useState } from "preact/hooks";
import { ask } from "./api";
import { isActive, useFollowed, useTask, useTitle } from "./hooks";
import { Bar, Card, Choice, Trouble } from "./parts";
import type { Training } from "./schema";

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
  useTitle(job?.state === "running" ? `${Math.round(100 * job.progress.fraction)} % · ${job.name}` : (job?.name ?? ""));
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
  const title = job.state === "queued" ? "Waiting to be trained" : job.state === "paused" ? "Training paused" : "Training";
  const waits = job.ahead ? `${job.ahead} trainings before it` : "It begins as soon as there is room";
  return (
    <Card title={title}>
      <p aria-live="polite" aria-atomic="true">
        <strong>
          {job.state === "queued"
            ? waits
            : job.step
              ? `Step ${count(job.step)} of at most ${count(job.of)}`
              : (job.progress.title ?? "Getting the recordings ready")}
        </strong>
      </p>
      <Bar label="The whole training" fraction={job.progress.fraction} />
      <dl class="figures">
        {job.seconds_left !== null && job.state === "running" && (
          <>
            <dt>Left</dt>
            <dd>
              {duration(job.seconds_left)} <small>at most; it ends when no gain is likely</small>
            </dd>
          </>
        )}
        {LOSSES.filter(([name]) => job.losses[name] !== undefined).map(([name, words]) => (
          <>
            <dt>{words}</dt>
            <dd>{job.losses[name]!.toFixed(2)}</dd>
          </>
        ))}
        {job.best !== null && (
          <>
            <dt>Best so far</dt>
            <dd>step {count(job.best)}</dd>
          </>
        )}
      </dl>
      <Sentences job={job} />
      <div class="row">
        {job.state === "paused" || job.pausing ? (
          <button class="primary" disabled={busy || job.cancelling} onClick={() => act("/resume", "POST")}>
            Go on
          </button>
        ) : (
          <button disabled={busy || job.cancelling} onClick={() => act("/pause", "POST")}>
            Pause
          </button>
        )}
        <button disabled={busy || job.cancelling} onClick={() => act("", "DELETE")}>
          {job.best !== null && job.state === "running" ? "End it, keep the best" : "Cancel"}
        </button>
        <span class="soft" aria-live="polite">
          {job.cancelling ? "Ending …" : job.pausing ? "Pausing …" : ""}
        </span>
      </div>
      <Trouble problem={problem} />
    </Card>
  );
}

function Outcome({ job }: { job: Training }) {
  const kept = job.result;
  const title =
    job.state === "failed"
      ? "It could not be trained"
      : kept
        ? "Trained"
        : job.state === "expired"
          ? "Trained a while ago"
          : "Training cancelled";
  return (
    <Card title={title}>
      {job.error && (
        <p role="alert">
          <strong>{job.error.message}</strong> {job.error.hint}
        </p>
      )}
      {kept && (
        <>
          <p class={kept.default ? "verdict" : "verdict mind"}>
            <strong>
              {kept.default ? "The trained model sings from now on." : "The instant voice goes on singing: it scored better."}
            </strong>{" "}
            {kept.reason}
          </p>
          <p>
            {kept.ended} {kept.advice[0] && `What would help most: ${kept.advice[0]}`}
          </p>
        </>
      )}
      <Sentences job={job} />
      {job.report && (
        <a href={job.report.href} target="_blank" rel="noopener">
          The whole report
        </a>
      )}
    </Card>
  );
}

function Sentences({ job }: { job: Training }) {
  const sentences = [...job.findings.map((one) => [one.severity, one.sentence]), ...job.warnings.map((one) => ["advice", one])];
  if (!sentences.length) return null;
  return (
    <details>
      <summary>What was noticed ({sentences.length})</summary>
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

const LOSSES: [string, string][] = [
  ["mel", "Mel loss"],
  ["kl", "KL loss"],
  ["discriminator", "Discriminator loss"],
];
const SCORES: [string, string, (value: number) => string][] = [
  ["similarity", "Similarity to the voice", (value) => value.toFixed(3)],
  ["intelligibility", "Intelligibility", (value) => value.toFixed(3)],
  ["f0_error", "Pitch errors", (value) => `${(100 * value).toFixed(1)} %`],
  ["mel_distance", "Mel distance", (value) => value.toFixed(2)],
];

/** The held-out scores over the steps: one as a curve, all as a table. */
function Scores({ evaluations, best }: { evaluations: Evaluation[]; best: number | null }) {
  const known = SCORES.filter(([name]) => evaluations.some((one) => one.scores[name] !== undefined));
  const [chosen, setChosen] = useState("");
  const [name, words, text] = known.find(([name]) => name === chosen) ?? known[0] ?? SCORES[0]!;
  const points = evaluations.filter((one) => one.scores[name] !== undefined).map((one) => ({ step: one.step, value: one.scores[name]! }));
  return (
    <Card title="Scores">
      <p class="soft">On recordings that were held back, and on phrases that others sing: what was never trained on.</p>
      <Choice label="Curve" value={name} options={known.map(([one, words]) => [one, words])} onChange={setChosen} />
      <Curve points={points} best={best} text={text} />
      <details>
        <summary>As a table</summary>
        <div class="scrolling" tabIndex={0} role="region" aria-label="Scores of the checkpoints">
          <table>
            <caption class="hidden">{words} and the other scores, by step</caption>
            <thead>
              <tr>
                <th scope="col">Step</th>
                {known.map(([one, words]) => (
                  <th scope="col" key={one}>
                    {words}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {evaluations.map((one) => (
                <tr key={one.step}>
                  <th scope="row">
                    {count(one.step)} {one.step === best && "(best)"}
                  </th>
                  {known.map(([name, , text]) => (
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
          step {count(first)} {last > first && `to ${count(last)}`}
        </small>
        <small>{high > low ? `${text(low)} to ${text(high)}` : points.length ? text(low) : ""}</small>
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
    <Card title="Listen">
      <Choice label="What is sung" value={clip} options={clips.map((one) => [one, clipWords(one)])} onChange={setChosen} />
      <ul class="takes samples">
        {versions.map((version) => (
          <li key={version}>
            <span>
              {versionWords(version)} {Number(version) === job.best && <small>best</small>}
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
  return version === "original" ? "Original" : version === "instant" ? "Instant voice" : `Step ${count(Number(version))}`;
}

function clipWords(clip: string): string {
  const [kind, number] = clip.split("-");
  return `${kind === "held" ? "Held-out recording" : "Phrase of another singer"} ${Number(number) + 1}`;
}

function count(number: number | null): string {
  return number === null ? "" : number.toLocaleString("en");
}

function duration(seconds: number): string {
  if (seconds < 5400) return `${Math.max(1, Math.round(seconds / 60))} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}
