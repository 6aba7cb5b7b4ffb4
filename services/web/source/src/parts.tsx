/** Small parts that every view uses. */
import type { ComponentChildren } from "preact";
import type { Problem } from "./api";

export function Trouble({ problem }: { problem: Problem | null }) {
  return (
    <div role="alert" class={problem ? "trouble" : "trouble none"}>
      {problem && (
        <>
          <strong>{problem.message}</strong> {problem.hint}
        </>
      )}
    </div>
  );
}

export function Card({ title, step, children }: { title: string; step?: number; children: ComponentChildren }) {
  return (
    <section class="card" aria-label={title}>
      <h2>
        {step !== undefined && <span class="step">{step}</span>}
        {title}
      </h2>
      {children}
    </section>
  );
}

export function Bar({ label, fraction }: { label: string; fraction: number }) {
  return <progress aria-label={label} max={1} value={fraction} />;
}

export function clock(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "";
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

export function decibels(gain: number): string {
  return `${gain > 0 ? "+" : gain < 0 ? "−" : ""}${Math.abs(gain).toFixed(1)} dB`;
}

const WORDS: Record<string, string> = {
  decode: "Reading the song",
  separate: "Separating vocals and instrumental",
  pitch: "Following the melody",
  prepare: "Getting to know the voice",
  transpose: "Choosing the octave",
  convert: "Singing with the voice",
  finish: "Placing the vocal",
  shift: "Shifting the key",
  measure: "Weighing the parts",
  "cast list": "Listing who sings",
  remix: "Remixing",
  stems: "Cutting the stems",
  headroom: "Checking for clipping",
  encode: "Writing the files",
  assess: "Listening to the new vocal",
  report: "Checking the result",
  check: "Checking the recording",
  clips: "Slicing the recording",
  content: "Listening to the words",
  train: "Training",
};

/** What a stage does, in words. */
export function stageWords(name: string): string {
  const [first = "", ...rest] = name.split(" ");
  return WORDS[name] ?? (WORDS[first] ?? first) + (rest.length ? ` (${rest.join(" ")})` : "");
}
