/** One screen of the recorder: what to say or sing, a level meter, the take, and what is to be said of it. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Problem, upload } from "./api";
import { useTask } from "./hooks";
import { quantity, served, t } from "./i18n/language";
import { BEAT, play, STEPS, SYLLABLES } from "./melody";
import { type Microphone, openMicrophone, withheld } from "./microphone";
import { clock, Trouble } from "./parts";
import type { CheckedRecording } from "./schema";
import "./recorder.css";

/** A recording that is to be sent. `checked` and `address` only for those that were made here. */
export interface Take {
  file: File;
  checked: CheckedRecording | null;
  address?: string;
}

const LONGEST = 60; // seconds

interface Props {
  name: string;
  children: ComponentChildren;
  /** Hz of the melody's first note: it is counted in, and shown. */
  tonic?: number;
  onTake: (take: Take | null) => void;
  /** Whether what is said is checked as a recording of the voice. */
  check?: boolean;
}

export function Recorder({ name, children, tonic, onTake, check = true }: Props) {
  const microphone = useRef<Microphone | null>(null);
  const [state, setState] = useState<"idle" | "counting" | "recording" | "checking">("idle");
  const [level, setLevel] = useState(0);
  const [seconds, setSeconds] = useState(0);
  const [along, setAlong] = useState(false);
  const [take, setTake] = useState<Take | null>(null);
  const [lost, setLost] = useState<Problem | null>(null);
  const { busy, problem, run } = useTask();
  const first = useRef(0); // when the take begins, in seconds of the microphone's clock
  useEffect(() => () => microphone.current?.close(), []);
  useEffect(() => {
    if (state === "idle" || state === "checking") return;
    let frame = 0;
    const look = () => {
      const now = microphone.current!.audio.currentTime - first.current;
      setLevel(microphone.current!.level());
      setSeconds(now);
      if (now > LONGEST) microphone.current!.stop();
      frame = requestAnimationFrame(look);
    };
    look();
    return () => cancelAnimationFrame(frame);
  }, [state]);

  const record = () =>
    run(async () => {
      setTake(null);
      setLost(null);
      onTake(null);
      const gone = () => {
        microphone.current = null;
        setLost(new Problem("microphone-gone", t("microphone.gone"), t("microphone.gone.hint")));
      };
      microphone.current ??= await openMicrophone(gone);
      const { audio, stop } = microphone.current;
      first.current = audio.currentTime;
      let over = 0;
      if (tonic) {
        setState("counting");
        first.current = play(audio, tonic, { along });
        await new Promise((done) => setTimeout(done, 1000 * (first.current - audio.currentTime)));
        if (!microphone.current) return setState("idle");
        over = window.setTimeout(stop, 1000 * (STEPS.length * BEAT + 0.8));
      }
      setState("recording");
      const file = await microphone.current.record(name);
      clearTimeout(over);
      setLevel(0);
      const address = URL.createObjectURL(file);
      if (!check) {
        setState("idle");
        return onTake({ file, checked: null, address });
      }
      setState("checking");
      const form = new FormData();
      form.append("recording", file);
      const checked = await upload<CheckedRecording>("v1/recordings/check", form, () => undefined).finally(() => setState("idle"));
      const made = { file, checked, address };
      setTake(made);
      if (checked.voice > 0) onTake(made);
    });

  const why = withheld();
  const at = state === "recording" && tonic ? Math.floor(seconds / BEAT) : -1;
  return (
    <div class="recorder">
      <div class="prompt">
        {children}
        {tonic && (
          <p class="melody">
            {SYLLABLES.map((syllable, place) => (
              <span key={place} class={place === at ? "now" : ""} style={{ transform: `translateY(${-STEPS[place]! * 3}px)` }}>
                {syllable}
              </span>
            ))}
          </p>
        )}
      </div>
      {why ? (
        <Trouble problem={why} />
      ) : (
        <>
          <meter class="level" aria-label={t("recorder.level")} min={0} max={1} low={0.08} high={0.97} optimum={0.5} value={level} />
          <p class="told" aria-live="polite">
            {state === "counting"
              ? t("recorder.ready")
              : state === "checking"
                ? t("listening")
                : state === "recording"
                  ? heard(level, seconds)
                  : ""}
          </p>
          <div class="row">
            {state === "recording" ? (
              <button type="button" class="recording" onClick={() => microphone.current?.stop()}>
                {t("stop")} <span class="figure">{clock(seconds)}</span>
              </button>
            ) : (
              <button type="button" class={take ? "" : "primary"} disabled={busy} onClick={record}>
                {t(take ? "recorder.again" : "recorder.record")}
              </button>
            )}
            {tonic && (
              <>
                <button type="button" disabled={busy} onClick={() => hear(tonic)}>
                  {t("step.hear")}
                </button>
                <label class="choice">
                  <input type="checkbox" checked={along} onChange={(event) => setAlong(event.currentTarget.checked)} />{" "}
                  {t("recorder.along")}
                </label>
              </>
            )}
          </div>
          {take && <Checked take={take} />}
        </>
      )}
      <Trouble problem={problem ?? lost} />
    </div>
  );
}

function heard(level: number, seconds: number): string {
  if (level > 0.98) return t("recorder.loud");
  if (seconds > 2 && level < 0.02) return t("recorder.quiet");
  return "";
}

function hear(hertz: number) {
  const audio = new AudioContext();
  play(audio, hertz, { counted: false });
  setTimeout(() => void audio.close(), 1000 * (STEPS.length * BEAT + 0.5));
}

function Checked({ take }: { take: Take }) {
  const { voice, findings } = take.checked!;
  return (
    <div class="checked" role="status">
      <audio controls src={take.address} aria-label={t("recorder.take")} />
      {!findings.length && <p class="fine">{t("recorder.fine", { time: quantity(Math.round(voice), "second") })}</p>}
      {findings.map((finding) => (
        <p key={finding.code} class={finding.severity}>
          {served(`finding.${finding.code}`, finding.sentence)}
        </p>
      ))}
    </div>
  );
}
