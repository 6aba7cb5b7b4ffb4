/** A new voice, or more recordings for one: from the microphone in three steps, or from files. */
import { useEffect, useRef, useState } from "preact/hooks";
import { ask, eventsAfter, upload } from "./api";
import { Consent } from "./consent";
import { useTask } from "./hooks";
import { explained, served, t } from "./i18n/language";
import { tonic } from "./melody";
import { withheld } from "./microphone";
import { Bar, Trouble } from "./parts";
import { Recorder, type Take } from "./recorder";
import type { Voice } from "./schema";

const SENTENCES = ["sentence.1", "sentence.2"] as const;
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
  const unnamed = name.trim() ? "" : t("new-voice.unnamed");
  const missing = unnamed || (consent && agreed ? "" : t("new-voice.no-consent"));
  const title = voice ? t("new-voice.more", { name: voice.name }) : t("new-voice");
  const failed = made?.error && !busy ? made.error : null;

  return (
    <section ref={place} tabIndex={-1} class="studio" aria-label={title}>
      {step !== "whose" && (
        <ol class="steps" aria-label={t("steps")}>
          {(["say", "sing", "hear"] as const).map((one, at) => (
            <li key={one} aria-current={one === step ? "step" : undefined}>
              {at + 1} {t(`step.${one}`)}
            </li>
          ))}
          {step !== "hear" && (
            <li class="figure">{t("new-voice.seconds", { seconds: Math.floor(seconds), wanted: voice ? 20 : WANTED })}</li>
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
              {t("name")}
              <input required maxLength={64} value={name} onInput={(event) => setName(event.currentTarget.value)} />
            </label>
          )}
          <fieldset>
            <legend>{t("whose")}</legend>
            <label class="choice">
              <input type="radio" name="consent" checked={consent === "self"} onChange={() => setConsent("self")} /> {t("whose.self")}
            </label>
            <label class="choice">
              <input type="radio" name="consent" checked={consent === "granted"} onChange={() => setConsent("granted")} />{" "}
              {t("whose.granted")}
            </label>
            <label class="choice">
              <input type="checkbox" checked={agreed} onChange={(event) => setAgreed(event.currentTarget.checked)} /> {t("whose.agreed")}
            </label>
          </fieldset>
          <div class="row">
            <button type="button" class="primary" disabled={!!missing || !!withheld()} onClick={() => setStep("say")}>
              {t(voice ? "new-voice.record.more" : "new-voice.record")}
            </button>
            <span class="soft">{!withheld() && t("new-voice.record.about")}</span>
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
              <strong>{t(voice ? "new-voice.drop.more" : "new-voice.drop")}</strong>
              <small>{t(voice ? "new-voice.files.more" : "new-voice.files")}</small>
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
                    aria-label={t("remove.it", { name: file.name })}
                    onClick={() => setFiles(files.filter((_, other) => other !== at))}
                  >
                    {t("remove")}
                  </button>
                </li>
              ))}
            </ul>
          )}
          <div class="row">
            {!!files.length && (
              <button class="primary" disabled={!!missing || mixed}>
                {t(voice ? "new-voice.add" : "new-voice.make")}
              </button>
            )}
            <button type="button" onClick={onClose}>
              {t("cancel")}
            </button>
            <span class="soft" aria-live="polite">
              {mixed ? t("new-voice.mixed") : missing}
            </span>
          </div>
        </form>
      )}
      {step === "say" && (
        <>
          <Recorder key={said.length} name={`sentence ${said.length + 1}`} onTake={setTake}>
            <span>{t("new-voice.say")}</span>
            <q>{t(SENTENCES[said.length % SENTENCES.length]!)}</q>
          </Recorder>
          <div class="row">
            <button class="primary" disabled={!take} onClick={() => keep("sing")}>
              {t("new-voice.next")}
            </button>
            <button disabled={!take} onClick={() => keep("say")}>
              {t("new-voice.again")}
            </button>
            <button class="plain" onClick={onClose}>
              {t("cancel")}
            </button>
          </div>
        </>
      )}
      {step === "sing" && (
        <>
          <Recorder key={said.length} name={`melody ${said.length + 1}`} tonic={tonic(spoken, notes)} onTake={setTake}>
            <span>{t(notes ? `new-voice.sing.${notes}` : "new-voice.sing")}</span>
          </Recorder>
          <div class="row">
            <button class="primary" disabled={!take} onClick={() => finish(takes)}>
              {t(voice ? "new-voice.add" : "new-voice.make")}
            </button>
            {seconds < WANTED && (
              <button disabled={!take} onClick={() => keep("say")}>
                {t("new-voice.again")}
              </button>
            )}
            <button class="plain" disabled={busy} onClick={() => finish(said)}>
              {t("new-voice.no-singing")}
            </button>
          </div>
        </>
      )}
      {step === "hear" && (
        <div class="panel" role="status">
          {made?.state === "ready" && !failed ? (
            <strong>{t("new-voice.ready", { name: made.name })}</strong>
          ) : (
            busy && (
              <>
                <Bar label={t("new-voice.making")} fraction={sent < 1 ? sent / 2 : 0.75} />
                <span>{t(sent < 1 ? "sending" : "new-voice.listening")}</span>
              </>
            )
          )}
          {failed && (
            <p>
              <strong>{explained(failed)}</strong>
            </p>
          )}
          {sung && <audio controls autoplay src={made!.sample!} aria-label={t("new-voice.sample", { name: made!.name })} />}
          {made?.state === "ready" && busy && <span class="soft">{t("new-voice.practises")}</span>}
          {made?.state === "ready" && <Findings voice={made} />}
          {made?.state === "ready" && !busy && <Consent voice={made} onChange={setMade} />}
          <div class="row">
            {made?.state === "ready" && <button onClick={onClose}>{t("close")}</button>}
            {!busy && (problem || failed) && (
              <>
                <button onClick={() => make(said)}>{t("try-again")}</button>
                <button onClick={() => setStep("whose")}>{t("back")}</button>
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
  if (!voice.findings.length) return <p class="soft">{t("new-voice.fine")}</p>;
  return (
    <ul class="findings">
      {voice.findings.map((finding) => (
        <li key={finding.sentence} class={finding.severity}>
          {served(`finding.${finding.code}`, finding.sentence)}
        </li>
      ))}
    </ul>
  );
}
