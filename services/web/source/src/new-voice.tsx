/** A new voice, or more recordings for one: from the microphone in three steps, or from files. */
import { useEffect, useRef, useState } from "preact/hooks";
import { ask, eventsAfter, upload } from "./api";
import { Consent } from "./consent";
import { useTask } from "./hooks";
import { tonic } from "./melody";
import { withheld } from "./microphone";
import { Bar, Trouble } from "./parts";
import { Recorder, type Take } from "./recorder";
import type { Voice } from "./schema";

const SENTENCES = [
  "On the far bank five grey boats were drifting past the old mill while a choir of young voices rose above the water, " +
    "clear and unhurried, as though the evening had nothing else to listen to.",
  "She packed the blue jug, a measuring tape and six fresh figs into the basket, shut the garden gate behind her, and " +
    "walked up the hill, humming the tune that the whole town had been whistling since Thursday.",
] as const;
const WANTED = 30; // seconds of voice

/** Which part of a voice a file is, by its name: a trained model, its index, or a recording. */
function field(name: string): "model" | "index" | "recordings" {
  if (/\.(pth|safetensors|zip)$/i.test(name)) return "model";
  return /\.index$/i.test(name) ? "index" : "recordings";
}

interface Props {
  /** The voice that gets more recordings; none: a new one is made. */
  voice?: Voice;
  /** Which notes the recordings of that voice lack. */
  notes?: "" | "high" | "low";
  onDone: (voice: Voice) => Promise<void>;
  onClose: () => void;
}

type Step = "whose" | "say" | "sing" | "hear";

export function NewVoice({ voice, notes = "", onDone, onClose }: Props) {
  const [step, setStep] = useState<Step>("whose");
  const [name, setName] = useState(voice?.name ?? "");
  const [files, setFiles] = useState<File[]>([]);
  const [said, setSaid] = useState<Take[]>([]);
  const [take, setTake] = useState<Take | null>(null); // the one of this screen
  const [consent, setConsent] = useState<"" | "self" | "granted">("");
  const [agreed, setAgreed] = useState(false);
  const [sent, setSent] = useState(0);
  const [made, setMade] = useState<Voice | null>(null);
  const [sung, setSung] = useState(false);
  const { busy, problem, run } = useTask();
  const place = useRef<HTMLElement>(null);
  useEffect(() => (step === "whose" ? place.current?.querySelector<HTMLElement>("input")?.focus() : place.current?.focus()), [step]);

  const takes = take ? [...said, take] : said;
  const seconds = takes.reduce((sum, one) => sum + (one.checked?.voice ?? 0), 0);
  const spoken = said[0]?.checked?.pitch_range?.median ?? voice?.pitch_range?.median ?? null;

  const make = (recorded: Take[]) =>
    run(async () => {
      const form = new FormData();
      if (!voice) form.append("name", name.trim());
      form.append("consent", consent);
      form.append("sample", "true");
      for (const one of recorded) form.append("recordings", one.file);
      for (const file of files) form.append(field(file.name), file, file.name);
      setSent(0);
      let found = await upload<Voice>(voice ? `v1/voices/${voice.id}/recordings` : "v1/voices", form, setSent);
      if (!voice) await onDone(found);
      for (let ended = false; !ended; ) {
        await new Promise((done) => setTimeout(done, 500));
        ended = (await eventsAfter(found.events, 0)).ended;
        found = await ask<Voice>(`v1/voices/${found.id}`);
        if (found.state === "ready" && (!voice || ended)) setMade(found);
      }
      setMade(found);
      setSung(found.state === "ready" && !!found.sample && (await fetch(found.sample, { method: "HEAD" })).ok);
      await onDone(found);
    });
  const keep = (next: Step) => {
    setSaid(takes);
    setTake(null);
    setStep(next);
  };
  const finish = (recorded: Take[]) => {
    setSaid(recorded);
    setTake(null);
    setStep("hear");
    make(recorded);
  };

  const kinds = new Set(files.map((file) => field(file.name)));
  const mixed = kinds.has("recordings") ? kinds.size > 1 : kinds.has("index") && !kinds.has("model");
  const unnamed = name.trim() ? "" : "Give it a name.";
  const missing = unnamed || (consent && agreed ? "" : "Say whose voice it is, and that it may be used.");
  const title = voice ? `More recordings of ${voice.name}` : "New voice";
  const failed = made?.error && !busy ? made.error : null;

  return (
    <section ref={place} tabIndex={-1} class="studio" aria-label={title}>
      {step !== "whose" && (
        <ol class="steps" aria-label="Steps">
          {(["say", "sing", "hear"] as const).map((one, at) => (
            <li key={one} aria-current={one === step ? "step" : undefined}>
              {at + 1} {{ say: "Say", sing: "Sing", hear: "Hear it" }[one]}
            </li>
          ))}
          {step !== "hear" && (
            <li class="figure">
              {Math.floor(seconds)} of {voice ? 20 : WANTED} s
            </li>
          )}
        </ol>
      )}
      {step === "whose" && (
        <form
          class="panel"
          aria-label={title}
          onSubmit={(event) => {
            event.preventDefault();
            finish([]);
          }}
        >
          {!voice && (
            <label>
              Name
              <input required maxLength={64} value={name} onInput={(event) => setName(event.currentTarget.value)} />
            </label>
          )}
          <fieldset>
            <legend>Whose voice is it?</legend>
            <label class="choice">
              <input type="radio" name="consent" checked={consent === "self"} onChange={() => setConsent("self")} /> Mine
            </label>
            <label class="choice">
              <input type="radio" name="consent" checked={consent === "granted"} onChange={() => setConsent("granted")} /> Somebody's who
              has agreed
            </label>
            <label class="choice">
              <input type="checkbox" checked={agreed} onChange={(event) => setAgreed(event.currentTarget.checked)} /> This voice may be used
              for covers.
            </label>
          </fieldset>
          <div class="row">
            <button type="button" class="primary" disabled={!!missing || !!withheld()} onClick={() => setStep("say")}>
              Record {voice ? "more" : "it now"}
            </button>
            <span class="soft">{withheld() ? "" : "Half a minute: say a sentence, sing a short melody."}</span>
          </div>
          <Trouble problem={withheld()} />
          <label
            class="drop small"
            onDragOver={(event) => {
              event.preventDefault();
              event.stopPropagation();
            }}
            onDrop={(event) => {
              event.preventDefault();
              event.stopPropagation();
              setFiles([...files, ...(event.dataTransfer?.files ?? [])]);
            }}
          >
            <input
              type="file"
              multiple
              accept={`audio/*,video/*${voice ? "" : ",.pth,.safetensors,.index,.zip"}`}
              onChange={(event) => setFiles([...files, ...(event.currentTarget.files ?? [])])}
            />
            <span>
              <strong>Drop recordings{!voice && " or a model"}, or choose files</strong>
              <small>One person talking or singing, 15 to 40 seconds, no music{!voice && "; or a trained RVC model (.pth, .zip)"}</small>
            </span>
          </label>
          {!!files.length && (
            <ul class="takes">
              {files.map((file, at) => (
                <li key={at}>
                  <span>{file.name}</span>
                  <button
                    type="button"
                    class="plain"
                    aria-label={`Remove ${file.name}`}
                    onClick={() => setFiles(files.filter((_, other) => other !== at))}
                  >
                    Remove
                  </button>
                </li>
              ))}
            </ul>
          )}
          <div class="row">
            {!!files.length && (
              <button class="primary" disabled={!!missing || mixed}>
                {voice ? "Add them" : "Make the voice"}
              </button>
            )}
            <button type="button" onClick={onClose}>
              Cancel
            </button>
            <span class="soft" aria-live="polite">
              {mixed ? "Recordings or one model with its index, not both." : missing}
            </span>
          </div>
        </form>
      )}
      {step === "say" && (
        <>
          <Recorder key={said.length} name={`sentence ${said.length + 1}`} onTake={setTake}>
            <span>Say this, close to the microphone, in a quiet room:</span>
            <q>{SENTENCES[said.length % SENTENCES.length]}</q>
          </Recorder>
          <div class="row">
            <button class="primary" disabled={!take} onClick={() => keep("sing")}>
              Next: sing
            </button>
            <button disabled={!take} onClick={() => keep("say")}>
              Say one more
            </button>
            <button class="plain" onClick={onClose}>
              Cancel
            </button>
          </div>
        </>
      )}
      {step === "sing" && (
        <>
          <Recorder key={said.length} name={`melody ${said.length + 1}`} tonic={tonic(spoken, notes)} onTake={setTake}>
            <span>
              Sing this after four beats{notes === "high" ? ", as high as it is" : notes === "low" ? ", as low as it is" : ""}. You hear the
              first note with the beats.
            </span>
          </Recorder>
          <div class="row">
            <button class="primary" disabled={!take} onClick={() => finish(takes)}>
              {voice ? "Add them to the voice" : "Make the voice"}
            </button>
            {seconds < WANTED && (
              <button disabled={!take} onClick={() => keep("say")}>
                Say one more
              </button>
            )}
            <button class="plain" disabled={busy} onClick={() => finish(said)}>
              Leave out the singing
            </button>
          </div>
        </>
      )}
      {step === "hear" && (
        <div class="panel" role="status">
          {made?.state === "ready" && !failed ? (
            <strong>{made.name} can sing now.</strong>
          ) : (
            busy && (
              <>
                <Bar label="Making the voice" fraction={sent < 1 ? sent / 2 : 0.75} />
                <span>{sent < 1 ? "Sending …" : "Listening to the recordings …"}</span>
              </>
            )
          )}
          {failed && (
            <p>
              <strong>{failed.message}</strong> {failed.hint}
            </p>
          )}
          {sung && <audio controls autoplay src={made!.sample!} aria-label={`${made!.name} sings`} />}
          {made?.state === "ready" && busy && <span class="soft">It practises a few notes …</span>}
          {made?.state === "ready" && <Findings voice={made} />}
          {made?.state === "ready" && !busy && <Consent voice={made} onChange={setMade} />}
          <div class="row">
            {made?.state === "ready" && <button onClick={onClose}>Close</button>}
            {!busy && (problem || failed) && (
              <>
                <button onClick={() => make(said)}>Try again</button>
                <button onClick={() => setStep("whose")}>Back</button>
              </>
            )}
          </div>
          <Trouble problem={problem} />
        </div>
      )}
    </section>
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
