/** Past covers. */
import { remove } from "./api";
import { joined } from "./cover";
import { isActive } from "./hooks";
import { Card, clock, Delete } from "./parts";
import type { Job } from "./schema";

const WORDS: Record<Job["state"], string> = {
  queued: "waiting",
  running: "being made",
  done: "done",
  failed: "failed",
  cancelled: "stopped",
  expired: "expired",
};

export function Covers({ covers, onChange }: { covers: readonly Job[]; onChange: () => Promise<void> }) {
  return (
    <Card title="Covers">
      {!covers.length ? (
        <p class="soft">Yours will be listed here.</p>
      ) : (
        <ul class="rows">
          {covers.map((job) => (
            <li key={job.id}>
              <a href={`#/covers/${job.id}`}>
                <strong>{job.name}</strong>
                <small>
                  {[joined(job.singers), clock(job.result?.duration), new Date(job.created).toLocaleString()].filter(Boolean).join(" · ")}
                </small>
              </a>
              <span class={`state ${job.state}`}>
                {WORDS[job.state]}
                {job.state === "running" && `, ${Math.round(100 * job.progress.fraction)} %`}
              </span>
              {!isActive(job) && <Delete name={job.name} onDelete={() => remove(`v1/covers/${job.id}`).then(onChange)} />}
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}
