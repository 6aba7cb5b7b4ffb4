/** Beginning a training: what it takes, further recordings, consent. */
import { useEffect, useState } from "preact/hooks";
import { ask, upload } from "./api";
import { useTask } from "./hooks";
import { Bar, Card, Choice, Trouble } from "./parts";
import type { Training, TrainingEstimate, Voice } from "./schema";

interface Props {
  voice: Voice;
  again: boolean;
  onBegun: (training: Training) => void;
}

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
    const query = new URLSearchParams({ size, embedder });
    setEstimate(null);
    looking.run(async () => setEstimate(await ask<TrainingEstimate>(`v1/voices/${voice.id}/train?${query}`)));
  }, [voice.id, size, embedder]);

  const short = estimate && estimate.recorded < estimate.needed && !files.length;
  const missing = !estimate
    ? ""
    : estimate.missing.length
      ? `This server can't train yet: it needs ${estimate.missing.join(" and ")}. Whoever runs it can add that.`
      : short
        ? `There are ${Math.round(estimate.recorded)} s of recordings; add some, ${estimate.needed} s are the least.`
        : files.length && !consent
          ? "Say whose voice is in the further recordings."
          : "";

  const train = () =>
    run(async () => {
      const form = new FormData();
      form.append("size", size);
      form.append("embedder", embedder);
      if (steps) form.append("steps", steps);
      if (separate) form.append("separate", "true");
      if (files.length) form.append("consent", consent);
      for (const file of files) form.append("recordings", file, file.name);
      setSent(0);
      onBegun(await upload<Training>(`v1/voices/${voice.id}/train`, form, setSent));
    });

  return (
    <Card title={again ? "Train it again" : "Train this voice"}>
      <p>
        A trained model learns how this person sings: it can come closer than the instant voice. Ten minutes of clean singing make a good
        one; there are {Math.round((voice.seconds ?? 0) + (voice.training_seconds ?? 0))} s now. The instant voice goes on singing until the
        trained one beats it on recordings that were held back.
      </p>
      <p aria-live="polite">
        <strong>How long:</strong> {estimate?.sentence ?? "…"}
      </p>
      <Trouble problem={looking.problem} />
      <form
        class="panel"
        aria-label="Train this voice"
        onSubmit={(event) => {
          event.preventDefault();
          train();
        }}
      >
        <label class="drop small">
          <input type="file" multiple accept="audio/*,video/*" onChange={(event) => setFiles([...(event.currentTarget.files ?? [])])} />
          <span>
            <strong>{files.length ? files.map((file) => file.name).join(", ") : "Add further recordings of this voice"}</strong>
            <small>used for training alone; what is unfit is left out and listed</small>
          </span>
        </label>
        {files.length > 0 && (
          <fieldset>
            <legend>Whose voice is in them?</legend>
            <label class="choice">
              <input type="radio" name="training-consent" checked={consent === "self"} onChange={() => setConsent("self")} /> Mine
            </label>
            <label class="choice">
              <input type="radio" name="training-consent" checked={consent === "granted"} onChange={() => setConsent("granted")} />{" "}
              Somebody's who has agreed
            </label>
          </fieldset>
        )}
        <details>
          <summary>Settings</summary>
          <div class="settings">
            <Choice
              label="Network"
              value={size}
              options={[
                ["full", "RVC, full size"],
                ["tiny", "tiny: for tests, it can't sing"],
              ]}
              onChange={setSize}
            />
            <Choice
              label="Content features"
              value={embedder}
              options={[
                ["contentvec", "ContentVec"],
                ["cepstral", "cepstral: for tests"],
              ]}
              onChange={setEmbedder}
            />
            <label>
              Most steps
              <input
                inputMode="numeric"
                pattern="[0-9]*"
                placeholder="until no gain is likely"
                value={steps}
                onInput={(event) => setSteps(event.currentTarget.value)}
              />
            </label>
          </div>
          <label class="choice">
            <input type="checkbox" checked={separate} onChange={(event) => setSeparate(event.currentTarget.checked)} /> There is music in
            the recordings: separate the voice first
          </label>
        </details>
        <p class="soft">Train only your own voice, or one whose owner has agreed.</p>
        {busy && files.length > 0 && <Bar label="Sending the recordings" fraction={sent} />}
        <div class="row">
          <button class="primary" disabled={busy || !estimate || !!missing}>
            {again ? "Train again" : "Train this voice"}
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
