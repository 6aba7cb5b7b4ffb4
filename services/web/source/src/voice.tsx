/** One voice: which of its engines sings, and the training of its model. */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ask, type Problem, patch, told } from "./api";
import { isActive, useAddress, useTask, useTitle } from "./hooks";
import { NewVoice } from "./new-voice";
import { Card, Trouble } from "./parts";
import type { Training, TrainingPage, Voice } from "./schema";
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
      setLatest((await ask<TrainingPage>(`v1/trainings?voice=${id}&limit=1`)).items[0] ?? null);
      setProblem(null);
    } catch (error) {
      setProblem(told(error));
    }
  }, [id]);
  useEffect(() => void look(), [look]);

  useTitle(voice?.name ?? "");
  const active = latest && isActive(latest);
  return (
    <article>
      <h1 ref={heading} tabIndex={-1}>
        {voice?.name ?? "Voice"}
      </h1>
      <Trouble problem={problem} />
      {voice && voice.engines.length > 1 && <Singer voice={voice} onChange={setVoice} />}
      {voice && <More voice={voice} onChange={look} />}
      {latest && <TrainingView key={latest.id} id={latest.id} onEnd={() => void look()} />}
      {voice && latest !== undefined && !active && <TrainForm voice={voice} again={!!latest} onBegun={setLatest} />}
    </article>
  );
}

/** More recordings for a voice; `#/voices/ID/record/high` opens it, with the notes that are missing. */
function More({ voice, onChange }: { voice: Voice; onChange: () => Promise<void> }) {
  const [, , , view, notes] = useAddress().split("/");
  const open = view === "record";
  const close = () => {
    location.hash = `/voices/${voice.id}`;
  };
  if (voice.state !== "ready" || !voice.recording) return null;
  return (
    <Card title="Recordings">
      {open ? (
        <NewVoice voice={voice} notes={notes === "high" || notes === "low" ? notes : ""} onDone={onChange} onClose={close} />
      ) : (
        <div class="row">
          <a class="button" href={`#/voices/${voice.id}/record`}>
            More recordings …
          </a>
          <span class="soft">{Math.round(voice.seconds ?? 0)} seconds so far</span>
        </div>
      )}
    </Card>
  );
}

type Engine = "instant" | "zero-shot" | "rvc";

const ENGINES: Record<Engine, [string, string]> = {
  instant: ["Instant voice", "from the recordings, without training"],
  "zero-shot": ["Many-singers model", "from the recordings, by a model trained on many singers; slow without a GPU"],
  rvc: ["Trained model", "learned from the recordings"],
};

function Singer({ voice, onChange }: { voice: Voice; onChange: (voice: Voice) => void }) {
  const { busy, problem, run } = useTask();
  const [wanted, setWanted] = useState<Engine | null>(null);
  const choose = (engine: Engine) => {
    setWanted(engine);
    run(async () => {
      await patch<Voice>(`v1/voices/${voice.id}`, { engine })
        .then(onChange)
        .finally(() => setWanted(null));
    });
  };
  return (
    <Card title="Which one sings">
      <div role="radiogroup" aria-label="Which one sings" class="voices engines">
        {(voice.engines as Engine[]).map((engine) => (
          <label class="voice" key={engine}>
            <input
              type="radio"
              name="engine"
              disabled={busy}
              checked={(wanted ?? voice.engine) === engine}
              onChange={() => choose(engine)}
            />
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
