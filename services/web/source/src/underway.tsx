/** A cover on its way: how far it is, how long it still takes, and what of it can be heard already. */
import { useEffect, useRef, useState } from "preact/hooks";
import { remove } from "./api";
import { isActive, type Stage, useTask } from "./hooks";
import { Bar, Card, clock, Trouble } from "./parts";
import type { Job } from "./schema";

/** What a cover that hasn't begun waits for. */
function waiting({ ahead, running }: Job): string {
  if (ahead) return `${ahead === 1 ? "One other is" : `${ahead} others are`} before it in the queue.`;
  if (running)
    return `It is the next. It begins when ${running === 1 ? "the one that is being made now" : "one of those that are being made now"} is done, which can take some minutes.`;
  return "It begins in a moment.";
}

/** "about 40 seconds left": no more exact than it is known. */
export function leftWords(seconds: number | null | undefined): string {
  if (seconds == null) return "";
  return seconds < 5 ? "almost done" : `${aboutWords(seconds)} left`;
}

/** "about 3 minutes"; nothing where it isn't known. */
export function aboutWords(seconds: number | null | undefined): string {
  if (seconds == null) return "";
  if (seconds < 55) return `about ${Math.ceil(seconds / 10) * 10} seconds`;
  const minutes = Math.round(seconds / 60);
  return minutes <= 1 ? "about a minute" : `about ${minutes} minutes`;
}

const WORDS: [RegExp, string][] = [
  [/^(decode|ingredient|artwork)/, "Listening to the song"],
  [/^(separate|lead|dereverb|denoise|chain|quality|tempo)/, "Taking the singer and the band apart"],
  [/^(chorus|pitch|prepare|transpose|study|cut|vocal level)/, "Learning the melody"],
  [/^(convert chorus|finish chorus|measure chorus|remix chorus|passage|alone)/, "Singing the chorus first"],
  [/^convert/, "Singing the song"],
  [/^(assess|report)/, "Listening to the result"],
  [/^(finish|singer|shift|mark|measure|remix|stems|keep|headroom|encode|video|sign)/, "Mixing voice and band"],
];

/** What is being done, in everyday words; `stage` is the name of a stage. */
export function doing(stage: string | null): string {
  return WORDS.find(([names]) => names.test(stage ?? ""))?.[1] ?? "Working on it";
}

export function Underway({ job, stages }: { job: Job; stages: Stage[] }) {
  const { busy, problem, run } = useTask();
  const queued = job.state === "queued";
  const left = leftWords(job.seconds_left);
  return (
    <Card title={queued ? "Waiting" : "Being made"}>
      <p class="spread" aria-live="polite" aria-atomic="true">
        <strong>{queued ? waiting(job) : `${doing(job.progress.stage)}${left && `, ${left}`}.`}</strong>
      </p>
      <Bar label="All of it" fraction={job.progress.fraction} />
      <Early job={job} />
      <div class="row">
        <Notice />
        <button disabled={busy || job.cancelling} onClick={() => run(() => remove(`v1/${job.kind}s/${job.id}`))}>
          {job.cancelling ? "Stopping …" : "Stop"}
        </button>
      </div>
      {stages.length > 0 && (
        <details>
          <summary>All steps</summary>
          <ol class="stages">
            {stages.map((stage) => (
              <li key={stage.name} class={stage.state}>
                <span>{stage.title}</span>
                <Bar label={stage.title} fraction={stage.fraction} />
                <small>
                  {stage.state === "cached" ? "kept from before" : stage.state === "finished" ? `${stage.seconds.toFixed(1)} s` : ""}
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

const EARLY = { chorus: "The chorus, sung", karaoke: "Karaoke (the band alone)" } as const;

/** What of the cover can be heard before it is finished. Loaded only when it is played; one at a time. */
function Early({ job }: { job: Job }) {
  const list = useRef<HTMLUListElement>(null);
  const alone = (playing: EventTarget | null) => {
    for (const one of list.current?.querySelectorAll("audio") ?? []) if (one !== playing) one.pause();
  };
  const there = (["chorus", "karaoke"] as const).filter((name) => job.previews[name]);
  if (!there.length) return null;
  return (
    <ul class="early" ref={list} aria-label="To hear already">
      {there.map((name) => {
        const { href, start, seconds } = job.previews[name]!;
        return (
          <li key={name}>
            <span>
              {EARLY[name]} {name === "chorus" && <small>{`${clock(start)} to ${clock(start + seconds)}`}</small>}
            </span>
            <audio controls preload="none" src={href} aria-label={EARLY[name]} onPlay={(event) => alone(event.currentTarget)} />
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
  if (permission !== "default") return permission === "granted" ? <small class="soft">You are told when it is done.</small> : null;
  return <button onClick={() => void Notification.requestPermission().then(setPermission)}>Tell me when it is done</button>;
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
      const notice = new Notification(job.name, { body: job.state === "done" ? "The cover is done." : "The cover could not be made." });
      notice.onclick = () => window.focus();
    } catch {
      // phones show those of service workers alone
    }
  }, [active]);
}
