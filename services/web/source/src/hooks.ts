import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ask, eventsAfter, type JobEvent, type Problem, told } from "./api";
import type { Job } from "./schema";

/** The part of the address after `#`. */
export function useAddress(): string {
  const [address, set] = useState(() => location.hash.slice(1));
  useEffect(() => {
    const change = () => set(location.hash.slice(1));
    addEventListener("hashchange", change);
    return () => removeEventListener("hashchange", change);
  }, []);
  return address;
}

/** The title of the window: what is shown, and whose page it is. */
export function useTitle(text: string): void {
  useEffect(() => {
    document.title = text ? `${text} – Understudy` : "Understudy";
  }, [text]);
}

/** Calls `look` at once and then every `seconds`, while the page is seen (with `unseen`, every five when it isn't), until
 * it answers false. Plain requests, not
 * open streams: a browser opens six connections to a server, for all of its tabs together. */
export function usePolling(look: (() => Promise<boolean>) | null, seconds: number, unseen = false): void {
  const now = useRef(look);
  now.current = look;
  const wanted = look !== null;
  useEffect(() => {
    if (!wanted) return;
    let timer = 0;
    let over = false;
    let looking = false;
    const go = async () => {
      clearTimeout(timer);
      if (over || looking || (document.hidden && !unseen)) return;
      looking = true;
      const further = await (now.current?.() ?? Promise.resolve(false)).catch(() => true);
      looking = false;
      if (further && !over) timer = window.setTimeout(() => void go(), 1000 * (document.hidden ? 5 : seconds));
      else over = true;
    };
    void go();
    const seen = () => void go();
    document.addEventListener("visibilitychange", seen);
    return () => {
      over = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
    };
  }, [wanted, seconds, unseen]);
}

/** A job at `path` as it is now, followed until it has ended; `hear` gets each of its events, with `past` those of one
 * that has ended, too. */
export function useFollowed<T extends { state: string; events: string }>(
  path: string,
  hear: (event: JobEvent, change: (update: (job: T) => T) => void) => void,
  past = false,
): { job: T | null; problem: Problem | null; reload: () => Promise<void> } {
  const [job, setJob] = useState<T | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const last = useRef(0);

  const reload = useCallback(async () => {
    try {
      setJob(await ask<T>(path));
      setProblem(null);
    } catch (error) {
      setProblem(told(error));
    }
  }, [path]);
  useEffect(() => void reload(), [reload]);

  const look = async () => {
    const found = await eventsAfter(job!.events, last.current).catch((error: unknown) => {
      setProblem(told(error));
      throw error;
    });
    for (const event of found.events) {
      last.current = event.number;
      hear(event, (update) => setJob((before) => before && update(before)));
    }
    if (found.ended || problem || found.events.some(({ type }) => type === "state" || type === "preview")) await reload();
    return !found.ended;
  };
  usePolling(job && (past || isActive(job)) ? look : null, 1, true);
  return { job, problem, reload };
}

/** What a stage of a job does, and how far it is. */
export interface Stage {
  name: string;
  title: string;
  fraction: number;
  seconds: number;
  state: "started" | "progress" | "finished" | "cached" | "delayed";
}

/** A cover or a separation, followed until it has ended, and its stages. */
export function useJob(kind: "covers" | "separations", id: string) {
  const [stages, setStages] = useState<Stage[]>([]);
  const followed = useFollowed<Job>(`v1/${kind}/${encodeURIComponent(id)}`, (event, change) => {
    if (event.type !== "stage" && event.type !== "progress") return;
    const told = event.data as unknown as Omit<Stage, "name"> & { stage: string; total?: number; left?: number };
    const { stage: name, total, left, ...rest } = told;
    setStages((before) => {
      const place = before.findIndex((one) => one.name === name);
      const stage = { ...rest, name };
      return place < 0 ? [...before, stage] : before.map((one, at) => (at === place ? stage : one));
    });
    if (total !== undefined)
      change((job) => ({
        ...job,
        seconds_left: left ?? job.seconds_left,
        progress: { ...job.progress, fraction: total, stage: told.state === "finished" ? job.progress.stage : name },
      }));
  });
  return { ...followed, stages };
}

export function isActive(job: { state: string }): boolean {
  return ["queued", "running", "paused", "making"].includes(job.state);
}

/** Runs something that may fail; `busy` while it runs, `problem` after it failed. */
export function useTask(): { busy: boolean; problem: Problem | null; run: (task: () => Promise<void>) => void } {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const run = useCallback((task: () => Promise<void>) => {
    setBusy(true);
    setProblem(null);
    task()
      .catch((error: unknown) => setProblem(told(error)))
      .finally(() => setBusy(false));
  }, []);
  return { busy, problem, run };
}
