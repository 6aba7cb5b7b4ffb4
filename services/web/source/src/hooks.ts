import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ask, told, type Job, type Problem } from "./api";

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

/** A job as it is now, and the state of each of its stages, followed by its events until it has ended. */
export interface Stage {
  name: string;
  fraction: number;
  seconds: number;
  state: "started" | "progress" | "finished" | "cached";
}

export function useJob(id: string): { job: Job | null; stages: Stage[]; problem: Problem | null; reload: () => void } {
  const [job, setJob] = useState<Job | null>(null);
  const [stages, setStages] = useState<Stage[]>([]);
  const [problem, setProblem] = useState<Problem | null>(null);
  const alive = useRef(true);

  const reload = useCallback(async () => {
    try {
      const found = await ask<Job>(`v1/covers/${encodeURIComponent(id)}`);
      if (alive.current) {
        setJob(found);
        setProblem(null);
      }
      return found;
    } catch (error) {
      if (alive.current) setProblem(told(error));
      return null;
    }
  }, [id]);

  useEffect(() => {
    alive.current = true;
    setJob(null);
    setStages([]);
    let source: EventSource | null = null;
    void reload().then((found) => {
      if (!alive.current || !found || !(found.state === "queued" || found.state === "running")) return;
      source = new EventSource(found.events);
      source.addEventListener("state", () => void reload().then((now) => now && ended(now) && source?.close()));
      const hear = (event: MessageEvent<string>) => {
        const told = JSON.parse(event.data) as { stage: string; total?: number } & Omit<Stage, "name">;
        setStages((before) => {
          const stage = { name: told.stage, fraction: told.fraction, seconds: told.seconds, state: told.state };
          const place = before.findIndex((one) => one.name === told.stage);
          return place < 0 ? [...before, stage] : before.map((one, at) => (at === place ? stage : one));
        });
        if (told.total !== undefined) {
          const fraction = told.total;
          setJob((now) => now && { ...now, progress: { ...now.progress, fraction } });
        }
      };
      source.addEventListener("stage", hear);
      source.addEventListener("progress", hear);
      // the stream ends when the job does, and breaks when the server restarts: look how it stands
      source.onerror = () => void reload().then((now) => now && ended(now) && source?.close());
    });
    return () => {
      alive.current = false;
      source?.close();
    };
  }, [id, reload]);

  return { job, stages, problem, reload: () => void reload() };
}

function ended(job: Job): boolean {
  return !(job.state === "queued" || job.state === "running");
}

/** Runs something that may fail; `busy` while it runs, `problem` after it failed. */
export function useTask(): { busy: boolean; problem: Problem | null; run: (task: () => Promise<void>) => void; clear: () => void } {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const run = useCallback((task: () => Promise<void>) => {
    setBusy(true);
    setProblem(null);
    task()
      .catch((error: unknown) => setProblem(told(error)))
      .finally(() => setBusy(false));
  }, []);
  return { busy, problem, run, clear: () => setProblem(null) };
}
