/** One voice: which of its engines sings, and the training of its model. */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ask, type Problem, patch, told } from "./api";
import { isActive, useAddress, useTask, useTitle } from "./hooks";
import { quantity, t } from "./i18n/language";
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
        {voice?.name ?? t("voice")}
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
    <Card title={t("voice.more.title")}>
      {open ? (
        <NewVoice voice={voice} notes={notes === "high" || notes === "low" ? notes : ""} onDone={onChange} onClose={close} />
      ) : (
        <div class="row">
          <a class="button" href={`#/voices/${voice.id}/record`}>
            {t("voice.more")}
          </a>
          <span class="soft">{t("voice.so-far", { time: quantity(Math.round(voice.seconds ?? 0), "second") })}</span>
        </div>
      )}
    </Card>
  );
}

type Engine = "instant" | "zero-shot" | "rvc";

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
    <Card title={t("engine.title")}>
      <div role="radiogroup" aria-label={t("engine.title")} class="voices engines">
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
              <strong>{t(`engine.${engine}`)}</strong>
              <small>{t(`engine.${engine}.about`)}</small>
            </span>
          </label>
        ))}
      </div>
      <p class="soft">{t("engine.about")}</p>
      <Trouble problem={problem} />
    </Card>
  );
}
