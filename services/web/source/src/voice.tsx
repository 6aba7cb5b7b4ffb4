/** One voice: which of its engines sings, and the training of its model. */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ask, list, told, type Engine, type Problem, type Training, type Voice } from "./api";
import { useTask } from "./hooks";
import { Card, Trouble } from "./parts";
import { TrainForm } from "./train-form";
import { TrainingView } from "./training";

export function VoiceView({ id }: { id: string }) {
  const [voice, setVoice] = useState<Voice | null>(null);
  const [latest, setLatest] = useState<Training | null | undefined>(undefined);
  const [problem, setProblem] = useState<Problem | null>(null);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), [id]);

  const look = useCallback(async () => {
    try {
      setVoice(await ask<Voice>(`v1/voices/${id}`));
      setLatest((await list<Training>("v1/trainings", { voice: id, limit: "1" }))[0] ?? null);
      setProblem(null);
    } catch (error) {
      setProblem(told(error));
    }
  }, [id]);
  useEffect(() => void look(), [look]);

  const active = latest && ["queued", "running", "paused"].includes(latest.state);
  return (
    <article>
      <h1 ref={heading} tabIndex={-1}>
        {voice?.name ?? "Voice"}
      </h1>
      <Trouble problem={problem} />
      {voice && voice.engines.length > 1 && <Singer voice={voice} onChange={setVoice} />}
      {latest && <TrainingView key={latest.id} id={latest.id} onEnd={() => void look()} />}
      {voice && latest !== undefined && !active && <TrainForm voice={voice} again={!!latest} onBegun={setLatest} />}
    </article>
  );
}

const ENGINES: Record<Engine, [string, string]> = {
  instant: ["Instant voice", "from the recordings, without training"],
  rvc: ["Trained model", "learned from the recordings"],
};

function Singer({ voice, onChange }: { voice: Voice; onChange: (voice: Voice) => void }) {
  const { busy, problem, run } = useTask();
  const [wanted, setWanted] = useState<Engine | null>(null);
  const choose = (engine: Engine) => {
    setWanted(engine);
    run(async () => {
      const init = { method: "PATCH", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ engine }) };
      await ask<Voice>(`v1/voices/${voice.id}`, init).then(onChange).finally(() => setWanted(null));
    });
  };
  return (
    <Card title="Which one sings">
      <div role="radiogroup" aria-label="Which one sings" class="voices engines">
        {voice.engines.map((engine) => (
          <label class="voice" key={engine}>
            <input type="radio" name="engine" disabled={busy} checked={(wanted ?? voice.engine) === engine} onChange={() => choose(engine)} />
            <span>
              <strong>{ENGINES[engine][0]}</strong>
              <small>{ENGINES[engine][1]}</small>
            </span>
          </label>
        ))}
      </div>
      <p class="soft">New covers are sung with it. Those that there are stay as they are.</p>
      <Trouble problem={problem} />
    </Card>
  );
}
