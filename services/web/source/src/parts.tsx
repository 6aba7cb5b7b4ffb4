/** Small parts that every view uses. */
import type { ComponentChildren } from "preact";
import type { Problem } from "./api";
import { number, quantity } from "./i18n/language";
import type { Job, ResultFile } from "./schema";

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
      <h2 tabIndex={-1}>
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

export function Download({ file, words }: { file: ResultFile; words: string }) {
  return (
    <a class="button" href={file.href} download={file.name}>
      {words} <small>{megabytes(file.bytes)}</small>
    </a>
  );
}

export function clock(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "";
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** Length, tempo and key of what a job made. */
export function Music({ job: { result } }: { job: Job }) {
  const about = [clock(result?.duration), result?.bpm && `${number(Math.round(result.bpm))} BPM`, result?.song_key];
  return <p class="soft">{about.filter(Boolean).join(" · ")}</p>;
}

export function megabytes(bytes: number): string {
  if (bytes < 1e5) return quantity(Math.ceil(bytes / 1e3), "kilobyte", true);
  return quantity(bytes / 1e6, "megabyte", true, bytes < 1e7 ? 1 : 0);
}

export function decibels(gain: number): string {
  return `${gain > 0 ? "+" : gain < 0 ? "−" : ""}${number(Math.abs(gain), 1)} dB`;
}

/** A choice of a few values. A value that isn't among them is shown, too: another program may have set it. */
export function Choice({
  label,
  value,
  options,
  onChange,
}: {
  label: string;
  value: string;
  options: readonly (readonly [string, string])[];
  onChange: (value: string) => void;
}) {
  const known = options.some(([one]) => one === value);
  return (
    <label>
      {label}
      <select value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        {!known && <option value={value}>{value}</option>}
        {options.map(([one, words]) => (
          <option key={one} value={one}>
            {words}
          </option>
        ))}
      </select>
    </label>
  );
}
