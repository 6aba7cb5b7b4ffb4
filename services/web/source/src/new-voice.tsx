/** A new voice, from files or from the microphone. */
import { useEffect, useRef, useState } from "preact/hooks";
import { ask, upload } from "./api";
import { useTask } from "./hooks";
import { Bar, clock, Trouble } from "./parts";
import { Recorder, type Take } from "./recorder";
import type { Voice } from "./schema";

/** Which part of a voice a file is, by its name: a trained model, its index, or a recording. */
function field(name: string): "model" | "index" | "recordings" {
  if (/\.(pth|safetensors|zip)$/i.test(name)) return "model";
  return /\.index$/i.test(name) ? "index" : "recordings";
}

interface Props {
  onDone: (voice: Voice) => Promise<void>;
  onClose: () => void;
}

export function NewVoice({ onDone, onClose }: Props) {
  const [name, setName] = useState("");
  const [takes, setTakes] = useState<Take[]>([]);
  const [consent, setConsent] = useState<"" | "self" | "granted">("");
  const [agreed, setAgreed] = useState(false);
  const [sent, setSent] = useState(0);
  const [made, setMade] = useState<Voice | null>(null);
  const { busy, problem, run } = useTask();
  const first = useRef<HTMLInputElement>(null);
  useEffect(() => first.current?.focus(), []);

  const add = (files: Iterable<File>) => setTakes((before) => [...before, ...[...files].map((file) => ({ file, seconds: null }))]);

  const make = () =>
    run(async () => {
      const form = new FormData();
      form.append("name", name.trim());
      form.append("consent", consent);
      for (const take of takes) form.append(field(take.file.name), take.file, take.file.name);
      setSent(0);
      let voice = await upload<Voice>("v1/voices", form, setSent);
      await onDone(voice);
      while (voice.state === "making") {
        await new Promise((done) => setTimeout(done, 700));
        voice = await ask<Voice>(`v1/voices/${voice.id}`);
      }
      setMade(voice);
      await onDone(voice);
    });

  if (made?.state === "ready")
    return (
      <div class="panel" role="status">
        <strong>{made.name} can sing now.</strong>
        <Findings voice={made} />
        <button onClick={onClose}>Close</button>
      </div>
    );

  const kinds = new Set(takes.map((take) => field(take.file.name)));
  const mixed = kinds.has("recordings") ? kinds.size > 1 : kinds.has("index") && !kinds.has("model");
  const missing = !name.trim()
    ? "Give it a name."
    : !takes.length
      ? "Add recordings, or a trained model."
      : mixed
        ? "Recordings or one model with its index, not both."
        : !consent || !agreed
          ? "Say whose voice it is, and that it may be used."
          : "";
  return (
    <form
      class="panel"
      aria-label="New voice"
      onSubmit={(event) => {
        event.preventDefault();
        make();
      }}
    >
      <label>
        Name
        <input ref={first} required maxLength={64} value={name} onInput={(event) => setName(event.currentTarget.value)} />
      </label>
      <p class="soft">
        Fifteen to forty seconds of one person talking or singing, close to the microphone, in a quiet room, no music. Or a trained RVC
        model (.pth, with its .index, or the .zip of both).
      </p>
      <label
        class="drop small"
        onDragOver={(event) => {
          event.preventDefault();
          event.stopPropagation();
        }}
        onDrop={(event) => {
          event.preventDefault();
          event.stopPropagation();
          add(event.dataTransfer?.files ?? []);
        }}
      >
        <input
          type="file"
          multiple
          accept="audio/*,video/*,.pth,.safetensors,.index,.zip"
          onChange={(event) => add(event.currentTarget.files ?? [])}
        />
        <span>
          <strong>Drop recordings or a model, or choose files</strong>
        </span>
      </label>
      <Recorder onTake={(take) => setTakes((before) => [...before, take])} />
      {!!takes.length && (
        <ul class="takes">
          {takes.map((take, at) => (
            <li key={at}>
              <span>
                {take.file.name} <small>{take.seconds ? clock(take.seconds) : ""}</small>
              </span>
              {take.seconds !== null && <audio controls src={take.address} aria-label={`Listen to ${take.file.name}`} />}
              <button
                type="button"
                class="plain"
                aria-label={`Remove ${take.file.name}`}
                onClick={() => setTakes(takes.filter((_, other) => other !== at))}
              >
                Remove
              </button>
            </li>
          ))}
        </ul>
      )}
      <fieldset>
        <legend>Whose voice is it?</legend>
        <label class="choice">
          <input type="radio" name="consent" checked={consent === "self"} onChange={() => setConsent("self")} /> Mine
        </label>
        <label class="choice">
          <input type="radio" name="consent" checked={consent === "granted"} onChange={() => setConsent("granted")} /> Somebody's who has
          agreed
        </label>
        <label class="choice">
          <input type="checkbox" checked={agreed} onChange={(event) => setAgreed(event.currentTarget.checked)} /> This voice may be used for
          covers.
        </label>
      </fieldset>
      {busy && <Bar label="Making the voice" fraction={sent < 1 ? sent / 2 : 0.75} />}
      <div class="row">
        <button class="primary" disabled={busy || !!missing}>
          Make the voice
        </button>
        <button type="button" onClick={onClose}>
          Cancel
        </button>
        <span class="soft" aria-live="polite">
          {busy ? (sent < 1 ? "Sending …" : "Listening to the recordings …") : missing}
        </span>
      </div>
      <Trouble problem={problem} />
      {made?.state === "failed" && (
        <div role="alert" class="trouble">
          <strong>{made.error?.message ?? "The voice could not be made."}</strong> {made.error?.hint}
        </div>
      )}
    </form>
  );
}

function Findings({ voice }: { voice: Voice }) {
  if (!voice.findings.length) return <p class="soft">Nothing to complain about in the recordings.</p>;
  return (
    <ul class="findings">
      {voice.findings.map((finding) => (
        <li key={finding.sentence} class={finding.severity}>
          {finding.sentence}
        </li>
      ))}
    </ul>
  );
}
