/** A cover on its way: how far it is, how long it still takes, and what of it can be heard already. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { remove } from "./api";
import { isActive, type Stage, useTask } from "./hooks";
import { explained, quantity, t } from "./i18n/language";
import type { Key } from "./i18n/messages";
import { Bar, Card, clock, Trouble } from "./parts";
import type { Job } from "./schema";

/** What a cover that hasn't begun waits for. */
function waiting({ ahead, running }: Job): string {
  if (ahead) return t("waiting.ahead", { count: ahead });
  if (running) return t(running === 1 ? "waiting.running.one" : "waiting.running.more");
  return t("waiting.moment");
}

/** "about 40 seconds left": no more exact than it is known. */
export function leftWords(seconds: number | null | undefined): string {
  if (seconds == null) return "";
  return seconds < 5 ? t("left.almost") : t("left", { time: coarse(seconds) });
}

/** "about 3 minutes"; nothing where it isn't known. */
export function aboutWords(seconds: number | null | undefined): string {
  return seconds == null ? "" : t("about", { time: coarse(seconds) });
}

function coarse(seconds: number): string {
  if (seconds < 55) return quantity(Math.ceil(seconds / 10) * 10, "second");
  return quantity(Math.max(1, Math.round(seconds / 60)), "minute");
}

const WORDS: [RegExp, Key & `doing.${string}`][] = [
  [/^(decode|ingredient|artwork)/, "doing.song"],
  [/^(separate|lead|dereverb|denoise|chain|quality|tempo)/, "doing.separate"],
  [/^(chorus|pitch|prepare|transpose|study|cut|vocal level)/, "doing.melody"],
  [/^(convert chorus|finish chorus|measure chorus|remix chorus|passage|alone)/, "doing.chorus"],
  [/^convert/, "doing.sing"],
  [/^(assess|report)/, "doing.result"],
  [/^(finish|singer|shift|mark|measure|remix|stems|keep|headroom|encode|video|sign)/, "doing.mix"],
];

/** What is being done, in everyday words; `stage` is the name of a stage. */
export function doing(stage: string | null): string {
  return t(WORDS.find(([names]) => names.test(stage ?? ""))?.[1] ?? "doing.it");
}

export function Underway({ job, stages }: { job: Job; stages: Stage[] }) {
  const { busy, problem, run } = useTask();
  const queued = job.state === "queued";
  const left = leftWords(job.seconds_left);
  return (
    <Card title={t(queued ? "underway.waiting" : "underway.running")}>
      <p class="spread" aria-live="polite" aria-atomic="true">
        <strong>{queued ? waiting(job) : [doing(job.progress.stage), left].filter(Boolean).join(" · ")}</strong>
      </p>
      <Bar label={t("underway.bar")} fraction={job.progress.fraction} />
      <Early job={job} />
      <div class="row">
        <Notice />
        <button disabled={busy || job.cancelling} onClick={() => run(() => remove(`v1/${job.kind}s/${job.id}`))}>
          {t(job.cancelling ? "stopping" : "stop")}
        </button>
      </div>
      {stages.length > 0 && (
        <details>
          <summary>{t("underway.steps")}</summary>
          <ol class="stages">
            {stages.map((stage) => (
              <li key={stage.name} class={stage.state}>
                <span>{stage.title}</span>
                <Bar label={stage.title} fraction={stage.fraction} />
                <small>
                  {stage.state === "cached"
                    ? t("underway.kept")
                    : stage.state === "finished"
                      ? quantity(stage.seconds, "second", true, 1)
                      : ""}
                </small>
              </li>
            ))}
          </ol>
        </details>
      )}
      <Trouble problem={problem} />
    </Card>
  );
}

const ENDED = { failed: "ended.failed", cancelled: "ended.stopped", expired: "ended.expired" } as const;

/** Why nothing can be heard of a job that has ended, and what can be done; nothing where it is otherwise. */
export function Ended({ job, children }: { job: Job; children?: ComponentChildren }) {
  const { state, error } = job;
  if (state !== "failed" && state !== "cancelled" && state !== "expired") return null;
  return (
    <Card title={t(ENDED[state])}>
      <p role="alert">
        <strong>
          {state === "failed" ? error && explained(error) : t(state === "expired" ? "ended.expired.about" : "ended.stopped.about")}
        </strong>
      </p>
      {children}
    </Card>
  );
}

/** What of the cover can be heard before it is finished. Loaded only when it is played; one at a time. */
function Early({ job }: { job: Job }) {
  const list = useRef<HTMLUListElement>(null);
  const alone = (playing: EventTarget | null) => {
    for (const one of list.current?.querySelectorAll("audio") ?? []) if (one !== playing) one.pause();
  };
  const there = (["chorus", "karaoke"] as const).filter((name) => job.previews[name]);
  if (!there.length) return null;
  return (
    <ul class="early" ref={list} aria-label={t("early")}>
      {there.map((name) => {
        const { href, start, seconds } = job.previews[name]!;
        return (
          <li key={name}>
            <span>
              {t(`early.${name}`)} {name === "chorus" && <small>{`${clock(start)} – ${clock(start + seconds)}`}</small>}
            </span>
            <audio controls preload="none" src={href} aria-label={t(`early.${name}`)} onPlay={(event) => alone(event.currentTarget)} />
          </li>
        );
      })}
    </ul>
  );
}

/** Browsers show notifications of pages with HTTPS (and of this computer) alone, and only when asked by a click. */
const CAN_NOTIFY = "Notification" in globalThis && globalThis.isSecureContext;

function Notice() {
  const [permission, setPermission] = useState(CAN_NOTIFY ? Notification.permission : "denied");
  if (permission !== "default") return permission === "granted" ? <small class="soft">{t("notice.granted")}</small> : null;
  return <button onClick={() => void Notification.requestPermission().then(setPermission)}>{t("notice.ask")}</button>;
}

/** Tells that the job has ended, where that is allowed and the page isn't looked at. */
export function useNotice(job: Job | null): void {
  const active = job !== null && isActive(job);
  const before = useRef(false);
  useEffect(() => {
    const ended = before.current && job && !active;
    before.current = active;
    if (!ended || !document.hidden || !CAN_NOTIFY || Notification.permission !== "granted") return;
    try {
      const notice = new Notification(job.name, { body: t(job.state === "done" ? "notice.done" : "notice.failed") });
      notice.onclick = () => window.focus();
    } catch {
      // phones show those of service workers alone
    }
  }, [active]);
}
