/** Recording in the browser: a sentence to say, a melody to sing, a level meter. */
import { useEffect, useRef, useState } from "preact/hooks";
import { Problem } from "./api";
import { clock, Trouble } from "./parts";

/** A recording that is to be sent. `seconds` and `address` only for those that were made here. */
export interface Take {
  file: File;
  seconds: number | null;
  address?: string;
}

const SENTENCE =
  "On the far bank five grey boats were drifting past the old mill while a choir of young voices rose above the water, " +
  "clear and unhurried, as though the evening had nothing else to listen to.";
const MELODY = ["do", "re", "mi", "fa", "so", "la", "so", "mi", "do"];
const STEPS = [0, 2, 4, 5, 7, 9, 7, 4, 0];
const LONGEST = 60; // seconds

export function Recorder({ onTake }: { onTake: (take: Take) => void }) {
  const [recording, setRecording] = useState<"sentence" | "melody" | null>(null);
  const [level, setLevel] = useState(0);
  const [seconds, setSeconds] = useState(0);
  const [problem, setProblem] = useState<Problem | null>(null);
  const stop = useRef<() => void>(() => undefined);
  useEffect(() => () => stop.current(), []);

  const start = async (kind: "sentence" | "melody") => {
    setProblem(null);
    let stream: MediaStream;
    try {
      // the browser's own clean-up is made for calls and takes a voice's character away
      stream = await navigator.mediaDevices.getUserMedia({
        audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
      });
    } catch {
      setProblem(
        new Problem("microphone", "The microphone can't be used.", "Allow it for this page in the browser, or drop files instead."),
      );
      return;
    }
    const audio = new AudioContext();
    const analyser = audio.createAnalyser();
    analyser.fftSize = 2048;
    audio.createMediaStreamSource(stream).connect(analyser);
    const wave = new Float32Array(analyser.fftSize);
    const recorder = new MediaRecorder(stream, { audioBitsPerSecond: 256_000 });
    const parts: Blob[] = [];
    const begun = performance.now();
    let frame = 0;
    const look = () => {
      analyser.getFloatTimeDomainData(wave);
      setLevel(wave.reduce((most, value) => Math.max(most, Math.abs(value)), 0));
      const now = (performance.now() - begun) / 1000;
      setSeconds(now);
      if (now > LONGEST) stop.current();
      else frame = requestAnimationFrame(look);
    };
    recorder.ondataavailable = (event) => parts.push(event.data);
    recorder.onstop = () => {
      cancelAnimationFrame(frame);
      for (const track of stream.getTracks()) track.stop();
      void audio.close();
      setRecording(null);
      setLevel(0);
      const type = recorder.mimeType || "audio/webm";
      const file = new File(
        parts,
        `${kind} ${new Date().toTimeString().slice(0, 8).replaceAll(":", "-")}.${type.includes("mp4") ? "m4a" : "webm"}`,
        { type },
      );
      if (file.size) onTake({ file, seconds: (performance.now() - begun) / 1000, address: URL.createObjectURL(file) });
    };
    stop.current = () => recorder.state !== "inactive" && recorder.stop();
    recorder.start();
    setRecording(kind);
    look();
  };

  return (
    <div class="recorder">
      <p>
        <strong>{isSecureContext ? "Or record here." : "Or record first."}</strong> Say this: <q>{SENTENCE}</q>
      </p>
      <p>
        And sing this on any pitch that is easy:{" "}
        <span class="melody" role="img" aria-label={MELODY.join(", ")}>
          {MELODY.map((syllable, at) => (
            <span key={at} style={{ transform: `translateY(${-(STEPS[at] ?? 0) * 2}px)` }}>
              {syllable}
            </span>
          ))}
        </span>{" "}
        <button type="button" class="plain" onClick={playMelody}>
          Hear it
        </button>
      </p>
      <div class="row">
        {!isSecureContext ? (
          <span>
            Browsers let a page record over HTTPS only, and this one came over HTTP. Record with another app of this device, and choose the
            file above.
          </span>
        ) : recording ? (
          <button type="button" class="recording" onClick={() => stop.current()}>
            Stop ({clock(seconds)})
          </button>
        ) : (
          <>
            <button type="button" onClick={() => void start("sentence")}>
              Record the sentence
            </button>
            <button type="button" onClick={() => void start("melody")}>
              Record the melody
            </button>
          </>
        )}
        {isSecureContext && (
          <label class="level">
            Level
            <meter min={0} max={1} low={0.1} high={0.95} optimum={0.5} value={level} />
          </label>
        )}
        <span class="soft" aria-live="polite">
          {recording && level > 0.98
            ? "Too loud: move back a little."
            : recording && seconds > 2 && level < 0.02
              ? "Hardly anything to hear."
              : ""}
        </span>
      </div>
      <Trouble problem={problem} />
    </div>
  );
}

function playMelody() {
  const audio = new AudioContext();
  const gain = audio.createGain();
  gain.gain.value = 0.15;
  gain.connect(audio.destination);
  STEPS.forEach((step, at) => {
    const tone = audio.createOscillator();
    tone.type = "triangle";
    tone.frequency.value = 220 * 2 ** (step / 12);
    tone.connect(gain);
    tone.start(audio.currentTime + 0.5 * at);
    tone.stop(audio.currentTime + 0.5 * at + 0.45);
  });
  setTimeout(() => void audio.close(), 500 * (STEPS.length + 1));
}
