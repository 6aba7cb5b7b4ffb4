/** The server's `/v1`: what it answers with, and errors as sentences that a person can act on.
 *
 * Addresses are relative to the page, which may lie below a path (`serve --root-path`). */

export interface Song {
  id: string;
  name: string;
  title: string | null;
  artist: string | null;
  duration: number | null;
  audio: string;
}

export interface Finding {
  severity: "problem" | "advice";
  sentence: string;
}

export interface Fault {
  code: string;
  message: string;
  hint: string;
}

export type Engine = "instant" | "rvc";

export interface Voice {
  id: string;
  name: string;
  state: "making" | "ready" | "failed";
  engine: Engine | null;
  engines: Engine[];
  seconds: number | null;
  training_seconds: number | null;
  findings: Finding[];
  error: Fault | null;
}

export interface File_ {
  href: string;
  name: string;
  type: string;
  bytes: number;
}

export type State = "queued" | "running" | "done" | "failed" | "cancelled" | "expired";

/** What is wrong, where (in seconds), and the one action that helps most. */
export interface Weakness {
  severity: "mind" | "wrong";
  stage: string;
  figure: string;
  sentence: string;
  at: number[];
  loss: number;
  action: {
    kind: "settings" | "recordings" | "song" | "stems" | "report";
    text: string;
    settings: Record<string, unknown>;
  };
}

export interface Result {
  duration: number;
  transpose: number;
  transpose_reason: string;
  loudness: { song: number | null; cover: number | null; true_peak: number | null; details?: { reduction: number } };
  vocal_level?: number | null;
  leftover?: number | null;
  leftover_error?: number;
  brightness?: number | null;
  similarity?: number | null;
  verdict: {
    verdict: "good" | "mind" | "wrong";
    blame: string;
    reason: string;
    grade?: number; // 0 to 100; older covers have none
    weaknesses?: Weakness[];
  };
}

export interface Job {
  id: string;
  state: State;
  cancelling: boolean;
  name: string;
  inputs: Record<string, string>;
  voice: string | null;
  voices: string[];
  settings: Settings;
  created: string;
  ahead: number | null;
  progress: { fraction: number; stage: string | null; title: string | null };
  error: Fault | null;
  warnings: { stage: string; warning: string }[];
  result: Result | null;
  audio: File_ | null;
  report: File_ | null;
  stems: Record<string, File_>;
  events: string;
}

export interface Training {
  id: string;
  state: State | "paused";
  pausing: boolean;
  cancelling: boolean;
  created: string;
  ahead: number | null;
  progress: { fraction: number; stage: string | null; title: string | null };
  step: number | null;
  of: number | null;
  seconds_left: number | null;
  losses: Record<string, number>;
  evaluation: Record<string, number> | null;
  best: number | null;
  error: Fault | null;
  warnings: string[];
  findings: Finding[];
  result: { step: number; steps: number; reason: string; ended: string; default: boolean; advice: string[] } | null;
  report: File_ | null;
  samples: Record<string, File_>;
  events: string;
}

/** What a training would take, in the server's words. */
export interface Estimate {
  recorded: number;
  needed: number;
  sentence: string;
  missing: string[];
}

/** What of a cover's settings the page changes; the server fills in the rest. */
export interface Settings {
  transpose?: number | "auto";
  key?: number;
  conversion?: { index_rate?: number; protect?: number; formant_shift?: number };
  remix?: { vocal_gain?: number; instrumental_gain?: number };
  output?: { format?: string; keep_stems?: boolean };
}

export interface Account {
  open: boolean;
  owner: string;
}

export interface Choices {
  presets: { name: string }[];
  formats: string[];
}

interface Page<T> {
  items: T[];
  next: string | null;
}

/** Something went wrong, in the server's words: `message` says what, `hint` what to do. */
export class Problem extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly hint: string,
  ) {
    super(message);
  }
}

const OFFLINE = new Problem("offline", "The server doesn't answer.", "Check that it is running, then try again.");

export async function ask<T>(path: string, init: RequestInit = {}): Promise<T> {
  const answer = await fetch(path, init).catch(() => {
    throw OFFLINE;
  });
  if (!answer.ok) throw await problem(answer.status, await answer.text().catch(() => ""));
  return (answer.status === 204 ? undefined : await answer.json()) as T;
}

function problem(status: number, text: string): Problem {
  try {
    const told = JSON.parse(text) as { code: string; detail: string; hint: string };
    if (told.code && told.detail) return new Problem(told.code, told.detail, told.hint ?? "");
  } catch {
    // not one of the server's own answers
  }
  return new Problem("unexpected", `The server answered with an error (${status}).`, "Try again in a moment.");
}

/** 128 random bits. `crypto.randomUUID` exists over HTTPS and on localhost only, and the page is also used over HTTP. */
function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function post<T>(path: string, body: unknown): Promise<T> {
  return ask<T>(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "Idempotency-Key": newKey() },
    body: JSON.stringify(body),
  });
}

/** Send a form; `progress` hears how much of it is on its way, 0 to 1. */
export function upload<T>(path: string, form: FormData, progress: (fraction: number) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("Idempotency-Key", newKey());
    request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    request.onerror = () => reject(OFFLINE);
    request.onload = () => {
      if (request.status < 300) resolve(JSON.parse(request.responseText) as T);
      else reject(problem(request.status, request.responseText));
    };
    request.send(form);
  });
}

export async function list<T>(path: string, query: Record<string, string> = { limit: "100" }): Promise<T[]> {
  return (await ask<Page<T>>(`${path}?${new URLSearchParams(query)}`)).items;
}

/** What an error says to a person. */
export function told(error: unknown): Problem {
  if (error instanceof Problem) return error;
  return new Problem("page", "Something in this page went wrong.", "Reload it; nothing on the server is lost.");
}
