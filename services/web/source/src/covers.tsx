/** Past covers. */
import { ask, type Job, type State, type Voice } from "./api";
import { useTask } from "./hooks";
import { Card, clock, Trouble } from "./parts";

const WORDS: Record<State, string> = {
  queued: "waiting",
  running: "being made",
  done: "done",
  failed: "failed",
  cancelled: "stopped",
  expired: "expired",
};

interface Props {
  covers: Job[] | null;
  voices: Voice[];
  onChange: () => void;
}

export function Covers({ covers, voices, onChange }: Props) {
  const { busy, problem, run } = useTask();
  return (
    <Card title="Covers">
      <Trouble problem={problem} />
      {covers === null ? (
        <p class="soft">Looking for covers …</p>
      ) : !covers.length ? (
        <p class="soft">Yours will be listed here.</p>
      ) : (
        <ul class="covers">
          {covers.map((job) => (
            <li key={job.id}>
              <a href={`#/covers/${job.id}`}>
                <strong>{job.name}</strong>
                <small>
                  {[voices.find((one) => one.id === job.voice)?.name, clock(job.result?.duration), new Date(job.created).toLocaleString()].filter(Boolean).join(" · ")}
                </small>
              </a>
              <span class={`state ${job.state}`}>{WORDS[job.state]}</span>
              {!["queued", "running"].includes(job.state) && (
                <button
                  class="plain"
                  disabled={busy}
                  aria-label={`Delete ${job.name}`}
                  onClick={() =>
                    run(async () => {
                      await ask(`v1/covers/${job.id}`, { method: "DELETE" });
                      onChange();
                    })
                  }
                >
                  Delete
                </button>
              )}
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}
