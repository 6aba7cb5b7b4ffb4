/** How a cover came out: a traffic light, what could be better with a button that does it, and the figures in a fold. */
import { useEffect, useRef, useState } from "preact/hooks";
import { followed } from "./again";
import { ask, Problem, post, remove } from "./api";
import { useTask } from "./hooks";
import { joined, number, served, t } from "./i18n/language";
import { Bar, Card, clock, decibels, megabytes, Trouble } from "./parts";
import type { FoundAction, FoundWeakness, Job, ModelState } from "./schema";
import "./verdict.css";

export function Verdict({ job }: { job: Job }) {
  const result = job.result!;
  const verdict = result.verdict;
  const weaknesses = verdict?.weaknesses ?? [];
  return (
    <Card title={t("verdict")}>
      {verdict && (
        <div class="verdict">
          <span class={`light ${verdict.verdict}`} aria-hidden="true">
            <i />
            <i />
            <i />
          </span>
          <p>
            <strong>{served(`verdict.${verdict.verdict}`, verdict.headline)}.</strong>{" "}
            {!weaknesses.length && served("verdict.fine", verdict.reason)}
          </p>
        </div>
      )}
      {!!weaknesses.length && (
        <ul class="weaknesses">
          {weaknesses.map((one) => (
            <Weakness key={one.figure} job={job} weakness={one} />
          ))}
        </ul>
      )}
      <details>
        <summary>{t("verdict.figures")}</summary>
        <dl class="figures">
          {verdict?.grade != null && <Figure name={t("figure.grade")} value={t("figure.grade.of", { grade: Math.round(verdict.grade) })} />}
          <Figure name={t("figure.length")} value={clock(result.duration)} />
          <Figure
            name={t("figure.loudness")}
            value={`${level(result.loudness?.cover)} LUFS`}
            about={t("figure.loudness.song", { loudness: level(result.loudness?.song) })}
          />
          <Figure name={t("figure.peak")} value={`${level(result.loudness?.true_peak)} dBTP`} />
          <Figure name={t("figure.vocal")} value={shown(result.vocal_level)} about={t("figure.against-singer")} />
          <Figure name={t("figure.brightness")} value={shown(result.brightness)} about={t("figure.against-singer")} />
          <Figure
            name={t("figure.leftover")}
            value={shown(result.leftover)}
            about={t("figure.against-vocal", { error: result.leftover_error ?? 2 })}
          />
        </dl>
        <p>{result.transpose_reason}</p>
        {[...new Set(job.warnings.map((one) => one.warning))].map((warning) => (
          <p key={warning} class="soft">
            {warning}
          </p>
        ))}
        {weaknesses.map((one) => one.measured && <p key={one.figure}>{one.measured}</p>)}
        {job.report && (
          <a href={job.report.href} target="_blank" rel="noopener">
            {t("report")}
          </a>
        )}
      </details>
    </Card>
  );
}

function shown(gain: number | null | undefined) {
  return gain == null ? "–" : decibels(gain);
}

function level(loudness: number | null | undefined) {
  return loudness == null ? "–" : number(loudness, 1);
}

function Figure({ name, value, about }: { name: string; value: string; about?: string }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>
        {value} {about && <small>{about}</small>}
      </dd>
    </>
  );
}

function Weakness({ job, weakness }: { job: Job; weakness: FoundWeakness }) {
  const { action, at = [] } = weakness;
  const label = actionWords(action);
  return (
    <li class={weakness.severity}>
      <p>
        {served(`weak.${weakness.figure}`, weakness.sentence)}
        {!!at.length && <small> {t("verdict.at", { times: joined(at.slice(0, 3).map(clock)) })}</small>}
      </p>
      {action.kind === "settings" && action.models?.length ? (
        <WithModels job={job} weakness={weakness} />
      ) : action.kind === "settings" ? (
        <Make job={job} weakness={weakness} />
      ) : action.kind === "recordings" && job.voice ? (
        <a class="button" href={`#/voices/${job.voice}/record${action.notes ? `/${action.notes}` : ""}`}>
          {label}
        </a>
      ) : action.kind === "song" ? (
        <a class="button" href="#/">
          {label}
        </a>
      ) : action.kind === "report" && job.report ? (
        <a class="button" href={job.report.href} download={job.report.name}>
          {label}
        </a>
      ) : (
        <p class="soft">{served(`action.${action.kind}`, action.text)}</p>
      )}
    </li>
  );
}

/** What an action does, by the first setting that it changes, or by its kind. */
function actionWords({ kind, settings, label, text }: FoundAction): string {
  return served(`action.${(kind === "settings" && Object.keys(settings)[0]) || kind}`, label || text);
}

async function make(job: Job, weakness: FoundWeakness) {
  const made = await post<Job>("v1/covers", followed(job, weakness.action));
  location.hash = `/covers/${made.id}`;
}

function Make({ job, weakness }: { job: Job; weakness: FoundWeakness }) {
  const { busy, problem, run } = useTask();
  return (
    <>
      <button disabled={busy} onClick={() => run(() => make(job, weakness))}>
        {actionWords(weakness.action)}
      </button>
      <Trouble problem={problem} />
    </>
  );
}

/** An action that needs models: those that this server hasn't got are fetched first. */
function WithModels({ job, weakness }: { job: Job; weakness: FoundWeakness }) {
  const { busy, problem, run } = useTask();
  const { models = [] } = weakness.action;
  const label = actionWords(weakness.action);
  const [absent, setAbsent] = useState<ModelState[] | null>(null);
  const stopped = useRef(false);

  const look = async () => {
    const there = await ask<ModelState[]>("v1/models");
    const found = there.filter((one) => models.includes(one.name) && one.state !== "installed");
    setAbsent(found);
    return found[0];
  };
  /** Fetch one model after the other; answers whether all are there. */
  const fetched = async () => {
    stopped.current = false;
    let begun = "";
    for (let next = await look(); next; next = await look()) {
      if (stopped.current) return false;
      if (next.state === "absent" && begun === next.name) {
        if (next.error) throw new Problem(next.error.code, next.error.message, next.error.hint);
        return false; // stopped elsewhere
      }
      if (next.state === "absent") await post<ModelState>(`v1/models/${next.name}/fetch`, undefined);
      begun = next.name;
      await new Promise((done) => setTimeout(done, 700));
    }
    return !stopped.current;
  };
  useEffect(() => {
    run(async () => {
      if ((await look())?.state === "fetching") await fetched(); // begun before this page was loaded
    });
    return () => {
      stopped.current = true;
    };
  }, []);

  const next = absent?.[0];
  if (busy && next)
    return (
      <div class="fetching">
        <span role="status">
          {t("fetching", { bytes: megabytes(next.fraction * (next.bytes ?? 0)), all: megabytes(next.bytes ?? 0) })}{" "}
          {absent.length > 1 && t("fetching.more", { count: absent.length - 1 })}
        </span>
        <Bar label={t("fetching.bar")} fraction={next.fraction} />
        <button
          onClick={() => {
            stopped.current = true;
            void remove(`v1/models/${next.name}/fetch`).catch(() => undefined);
          }}
        >
          {t("stop")}
        </button>
      </div>
    );
  const kept = absent?.find((one) => !one.fetchable);
  if (kept) return <p class="soft">{t("verdict.no-model", { what: label, model: kept.name })}</p>;
  return (
    <>
      <button disabled={busy || !absent} onClick={() => run(async () => void ((await fetched()) && (await make(job, weakness))))}>
        {label} {!!absent?.length && <small>{megabytes(absent.reduce((sum, one) => sum + (one.bytes ?? 0), 0))}</small>}
      </button>
      <Trouble problem={problem} />
    </>
  );
}
