/** Small parts that every view uses. */
import type { ComponentChildren } from "preact";
import { useRef, useState } from "preact/hooks";
import type { Problem } from "./api";
import { useTask } from "./hooks";

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

export function clock(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "";
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}

export function decibels(gain: number): string {
  return `${gain > 0 ? "+" : gain < 0 ? "−" : ""}${Math.abs(gain).toFixed(1)} dB`;
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

/** Deletes after a question. The focus goes to the question, and afterwards to the list's heading or back. */
export function Delete({ name, onDelete }: { name: string; onDelete: () => Promise<void> }) {
  const { busy, problem, run } = useTask();
  const [asking, setAsking] = useState(false);
  const place = useRef<HTMLDivElement>(null);
  const focus = (chosen: string) => requestAnimationFrame(() => place.current?.querySelector<HTMLElement>(chosen)?.focus());
  const keep = () => {
    setAsking(false);
    focus("button");
  };
  if (!asking)
    return (
      <div ref={place}>
        <button
          class="plain"
          aria-label={`Delete ${name}`}
          onClick={() => {
            setAsking(true);
            focus(".keep");
          }}
        >
          Delete
        </button>
      </div>
    );
  return (
    <div
      ref={place}
      class="question"
      role="group"
      aria-label={`Delete ${name} for good?`}
      onKeyDown={(event) => event.key === "Escape" && keep()}
    >
      <span>Delete it for good?</span>
      <button
        class="danger"
        disabled={busy}
        onClick={() => {
          const heading = place.current?.closest("section")?.querySelector("h2");
          run(() => onDelete().then(() => heading?.focus()));
        }}
      >
        Delete
      </button>
      <button class="keep" onClick={keep}>
        Keep
      </button>
      <Trouble problem={problem} />
    </div>
  );
}
