/** Beginning a training: what it takes, further recordings, consent. */
import { useEffect, useState } from "preact/hooks";
import { ask, upload, type Estimate, type Training, type Voice } from "./api";
import { useTask } from "./hooks";
import { Bar, Card, Trouble } from "./parts";

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
  const [estimate, setEstimate] = useState<Estimate | null>(null);
  const [sent, setSent] = useState(0);
  const { busy, problem, run } = useTask();
  const looking = useTask();

  useEffect(() => {
    const query = new URLSearchParams({ size, embedder });
    setEstimate(null);
    looking.run(async () => setEstimate(await ask<Estimate>(`v1/voices/${voice.id}/train?${query}`)));
  }, [voice.id, size, embedder]);

  const short = estimate && estimate.recorded < estimate.needed && !files.length;
  const missing = !estimate
    ? ""
    : estimate.missing.length
      ? `This server needs ${estimate.missing.join(" and ")} first: understudy models fetch ${estimate.missing.join(" ")}`
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
        A trained model learns how this person sings: it can come closer than the instant voice. Ten minutes of clean singing
        make a good one; there are {Math.round((voice.seconds ?? 0) + (voice.training_seconds ?? 0))} s now. The instant voice
        goes on singing until the trained one beats it on recordings that were held back.
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
              <input type="radio" name="training-consent" checked={consent === "granted"} onChange={() => setConsent("granted")} /> Somebody's who has
              agreed
            </label>
          </fieldset>
        )}
        <details>
          <summary>Settings</summary>
          <div class="settings">
            <label>
              Network
              <select value={size} onChange={(event) => setSize(event.currentTarget.value)}>
                <option value="full">RVC, full size</option>
                <option value="tiny">tiny: for tests, it can't sing</option>
              </select>
            </label>
            <label>
              Content features
              <select value={embedder} onChange={(event) => setEmbedder(event.currentTarget.value)}>
                <option value="contentvec">ContentVec</option>
                <option value="cepstral">cepstral: for tests</option>
              </select>
            </label>
            <label>
              Most steps
              <input inputMode="numeric" pattern="[0-9]*" placeholder="until no gain is likely" value={steps} onInput={(event) => setSteps(event.currentTarget.value)} />
            </label>
          </div>
          <label class="choice">
            <input type="checkbox" checked={separate} onChange={(event) => setSeparate(event.currentTarget.checked)} /> There is music in the recordings:
            separate the voice first
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
