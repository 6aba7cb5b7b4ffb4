/** The server's `/v1`: requests, and errors as sentences that a person can act on. What it answers with is in
 * `schema.ts`, which `make types` generates from the server's OpenAPI document. Addresses are relative to the page, which
 * may lie below a path (`serve --root-path`). */
import { served, t } from "./i18n/language";
import type { CoverSettings, EventList, JobEvent } from "./schema";

export type Settings = CoverSettings;

/** A page of a list, and the cursor of the next one. */
interface Page<T> {
  items: T[];
  next?: string | null;
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

const offline = () => new Problem("offline", t("problem.offline"), t("problem.offline.hint"));

export async function ask<T>(path: string, init: RequestInit = {}): Promise<T> {
  const answer = await fetch(path, init).catch(() => {
    throw offline();
  });
  if (!answer.ok) throw await problem(answer.status, await answer.text().catch(() => ""));
  return (answer.status === 204 ? undefined : await answer.json()) as T;
}

function problem(status: number, text: string): Problem {
  try {
    const told = JSON.parse(text) as { code: string; detail: string; hint: string; errors?: { field: string }[] };
    if (told.code === "request-invalid" && told.errors?.[0]) {
      // what doesn't validate is told in the words of the API's schema
      const field = told.errors[0].field.split(".").pop()!.replaceAll("_", " ");
      return new Problem(told.code, t("problem.field", { field }), t("problem.field.hint"));
    }
    if (told.code && told.detail) {
      const known = served(`problem.${told.code}`, "");
      return new Problem(told.code, known || told.detail, known ? "" : (told.hint ?? ""));
    }
  } catch {
    // not one of the server's own answers
  }
  return new Problem("unexpected", t("problem.status", { status: String(status) }), t("problem.status.hint"));
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

export function patch<T>(path: string, body: unknown): Promise<T> {
  return ask<T>(path, { method: "PATCH", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

export function remove(path: string): Promise<void> {
  return ask<void>(path, { method: "DELETE" });
}

/** Send a form; `progress` hears how much of it is on its way, 0 to 1. */
export function upload<T>(path: string, form: FormData, progress: (fraction: number) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("Idempotency-Key", newKey());
    request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    request.onerror = () => reject(offline());
    request.onload = () => {
      if (request.status < 300) resolve(JSON.parse(request.responseText) as T);
      else reject(problem(request.status, request.responseText));
    };
    request.send(form);
  });
}

/** All items of a list, page by page; `search`: what it is narrowed to. */
export async function list<T>(path: string, search: Record<string, string> = {}): Promise<T[]> {
  const found: T[] = [];
  let cursor: string | null | undefined = "";
  do {
    const query = new URLSearchParams({ limit: "100", ...search, ...(cursor && { cursor }) });
    const page: Page<T> = await ask<Page<T>>(`${path}?${query}`);
    found.push(...page.items);
    cursor = page.next;
  } while (cursor);
  return found;
}

/** The events of a job after the one numbered `after`, as far as they have happened. */
export async function eventsAfter(address: string, after: number): Promise<EventList> {
  const headers = { Accept: "application/json", ...(after && { "Last-Event-ID": String(after) }) };
  return (await ask<EventList | undefined>(address, { headers })) ?? { events: [], ended: true };
}

export type { JobEvent };

/** What an error says to a person. */
export function told(error: unknown): Problem {
  if (error instanceof Problem) return error;
  return new Problem("page", t("problem.page"), t("problem.page.hint"));
}
