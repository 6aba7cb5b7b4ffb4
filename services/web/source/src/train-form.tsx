/** Beginning a training: what it takes, further recordings, consent. */
import { useEffect, useState } from "preact/hooks";
import { ask, upload } from "./api";
import { useTask } from "./hooks";
import { joined, quantity, t } from "./i18n/language";
import { Bar, Card, Choice, Trouble } from "./parts";
import type { Training, TrainingEstimate, Voice } from "./schema";

interface Props {
  voice: Voice;
  again: boolean;
  onBegun: (training: Training) => void;
}

/** The fields of a request for what is chosen as "Network"; only a model of the voice's own learns from an embedder. */
const network = (chosen: string, embedder: string): Record<string, string> =>
  chosen === "zero-shot" ? { engine: chosen } : { size: chosen, embedder };

export function TrainForm({ voice, again, onBegun }: Props) {
  const [files, setFiles] = useState<File[]>([]);
  const [consent, setConsent] = useState<"" | "self" | "granted">("");
  const [size, setSize] = useState("full");
  const [embedder, setEmbedder] = useState("contentvec");
  const [steps, setSteps] = useState("");
  const [separate, setSeparate] = useState(false);
  const [estimate, setEstimate] = useState<TrainingEstimate | null>(null);
  const [sent, setSent] = useState(0);
  const { busy, problem, run } = useTask();
  const looking = useTask();

  useEffect(() => {
    const query = new URLSearchParams(network(size, embedder));
    setEstimate(null);
    looking.run(async () => setEstimate(await ask<TrainingEstimate>(`v1/voices/${voice.id}/train?${query}`)));
  }, [voice.id, size, embedder]);

  const tuned = size === "zero-shot";
  const time = (seconds: number) => quantity(Math.round(seconds), "second");
  const short = estimate && estimate.recorded < estimate.needed && !files.length;
  const missing = !estimate
    ? ""
    : estimate.missing.length
      ? t("train.missing", { what: joined(estimate.missing) })
      : short
        ? t("train.short", { time: time(estimate.recorded), least: time(estimate.needed) })
        : files.length && !consent
          ? t("train.no-consent")
          : "";

  const train = () =>
    run(async () => {
      const form = new FormData();
      for (const [name, value] of Object.entries(network(size, embedder))) form.append(name, value);
      if (steps) form.append("steps", steps);
      if (separate && !tuned) form.append("separate", "true");
      if (files.length) form.append("consent", consent);
      for (const file of files) form.append("recordings", file, file.name);
      setSent(0);
      onBegun(await upload<Training>(`v1/voices/${voice.id}/train`, form, setSent));
    });

  return (
    <Card title={t(again ? "train.again" : "train")}>
      <p>{t(tuned ? "train.about.zero-shot" : "train.about", { time: time((voice.seconds ?? 0) + (voice.training_seconds ?? 0)) })}</p>
      <p aria-live="polite">
        <strong>{t("train.how-long")}</strong> {estimate?.sentence ?? "…"}
      </p>
      <Trouble problem={looking.problem} />
      <form
        class="panel"
        aria-label={t("train")}
        onSubmit={(event) => {
          event.preventDefault();
          train();
        }}
      >
        <label class="drop small">
          <input type="file" multiple accept="audio/*,video/*" onChange={(event) => setFiles([...(event.currentTarget.files ?? [])])} />
          <span>
            <strong>{files.length ? files.map((file) => file.name).join(", ") : t("train.files")}</strong>
            <small>{t("train.files.about")}</small>
          </span>
        </label>
        {files.length > 0 && (
          <fieldset>
            <legend>{t("train.whose")}</legend>
            <label class="choice">
              <input type="radio" name="training-consent" checked={consent === "self"} onChange={() => setConsent("self")} />{" "}
              {t("whose.self")}
            </label>
            <label class="choice">
              <input type="radio" name="training-consent" checked={consent === "granted"} onChange={() => setConsent("granted")} />{" "}
              {t("whose.granted")}
            </label>
          </fieldset>
        )}
        <details>
          <summary>{t("settings")}</summary>
          <div class="settings">
            <Choice
              label={t("train.network")}
              value={size}
              options={[
                ["full", t("train.network.full")],
                ["zero-shot", t("train.network.zero-shot")],
                ["tiny", t("train.network.tiny")],
              ]}
              onChange={setSize}
            />
            {!tuned && (
              <Choice
                label={t("train.features")}
                value={embedder}
                options={[
                  ["contentvec", "ContentVec"],
                  ["cepstral", t("train.features.cepstral")],
                ]}
                onChange={setEmbedder}
              />
            )}
            <label>
              {t("train.steps")}
              <input
                inputMode="numeric"
                pattern="[0-9]*"
                placeholder={t("train.steps.none")}
                value={steps}
                onInput={(event) => setSteps(event.currentTarget.value)}
              />
            </label>
          </div>
          {!tuned && (
            <label class="choice">
              <input type="checkbox" checked={separate} onChange={(event) => setSeparate(event.currentTarget.checked)} />{" "}
              {t("train.separate")}
            </label>
          )}
        </details>
        <p class="soft">{t("train.only")}</p>
        {busy && files.length > 0 && <Bar label={t("sending")} fraction={sent} />}
        <div class="row">
          <button class="primary" disabled={busy || !estimate || !!missing}>
            {t(again ? "train.again" : "train")}
          </button>
          <span class="soft" aria-live="polite">
            {missing}
          </span>
        </div>
        <Trouble problem={problem} />
      </form>
    </Card>
  );
}
