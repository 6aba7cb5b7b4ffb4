/** Client of an Understudy server. `Understudy` uploads, makes covers, waits and downloads; its `api` asks every route,
 * typed by the OpenAPI document (`schema.ts` is generated). */
import { EventSourceParserStream } from "eventsource-parser/stream";
import createClient, { type Client } from "openapi-fetch";
import { Webhook } from "standardwebhooks";
import type {
  CoverRequest,
  CoverSettings,
  FieldProblem,
  Job,
  JobEnded,
  JobEvent,
  paths,
  ResultFile,
  SeparationRequest,
  Song,
  Training,
  Upload,
  Voice,
} from "./schema.js";

export type * from "./schema.js";

const TRIES = 4;
const HELD = 10; // tries, 5 s apart, of an upload that a lost connection still writes
const SILENCE = 45_000; // ms without a byte after which an event stream is dead; the server sends one every 15 s
const TUS = { "Tus-Resumable": "1.0.0" };
const AGAIN = [423, 429, 502, 503, 504];

/** An answer that is no success (RFC 9457 problem details). `code` is stable, `message` says what is wrong, `hint` what to
 * do. `retryAfter`: seconds, where the server names them. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly hint: string,
    readonly errors: FieldProblem[],
    readonly retryAfter?: number,
  ) {
    super(message);
    this.name = "ApiError";
  }
}

/** A job, a training or the making of a voice that ended without a result. `job` is how it ended. */
export class JobFailed extends Error {
  constructor(readonly job: Job | Training | Voice) {
    super(`${job.id} is ${job.state}. ${job.error ? `${job.error.message} ${job.error.hint}` : ""}`.trim());
    this.name = "JobFailed";
  }
}

/** The server at `address`, asked with an API key (none for a server without keys). */
export class Understudy {
  /** Every route: `server.api.GET("/v1/covers/{id}", { params: { path: { id } } })`. Errors are thrown as `ApiError`. */
  readonly api: Client<paths>;
  readonly #headers: Record<string, string>;

  constructor(
    readonly address = "http://127.0.0.1:8000",
    { key }: { key?: string } = {},
  ) {
    this.#headers = key ? { Authorization: `Bearer ${key}` } : {};
    this.api = createClient<paths>({ baseUrl: address.replace(/\/$/, ""), headers: this.#headers });
    this.api.use({
      onResponse: async ({ response }) => {
        if (!response.ok) throw await problem(response);
      },
    });
  }

  /** Send a song once, for many covers. A `Blob` without a name is sent as `name`. After a lost connection the upload goes
   * on where it broke. */
  async uploadSong(file: Blob, name = "song"): Promise<Song> {
    const letters = String.fromCharCode(...new TextEncoder().encode(nameOf(file, name)));
    const about = { "Upload-Length": String(file.size), "Upload-Metadata": `filename ${btoa(letters)}` };
    const upload = await this.#make<Upload>("/v1/uploads", undefined, { ...TUS, ...about });
    const path = `/v1/uploads/${upload.id}`;
    try {
      await this.#sendPieces(file, path);
      return await this.#make("/v1/songs", { upload: upload.id });
    } catch (error) {
      await this.#fetch(path, { method: "DELETE" }).catch(() => undefined); // it would count until it expires
      throw error;
    }
  }

  /** A voice from recordings, 15 to 40 s in total; `wait` for it. `consent`: it is your own voice (`self`), or its owner
   * has agreed (`granted`). */
  addVoice(name: string, recordings: Blob[], consent: "self" | "granted"): Promise<Voice> {
    const form = new FormData();
    form.append("name", name);
    form.append("consent", consent);
    for (const one of recordings) form.append("recordings", one, nameOf(one, "recording"));
    return this.#make("/v1/voices", form);
  }

  /** A cover of a song, or of a file that is uploaded first; `wait` for it. `settings`: what differs from the preset. */
  async makeCover(
    song: Song | Blob,
    voice: string | string[],
    settings?: CoverSettings,
    more: Partial<CoverRequest> = {},
  ): Promise<Job> {
    return this.#make("/v1/covers", { ...more, song: await this.#id(song), voice, ...(settings && { settings }) });
  }

  /** The stems of a song, or of a file that is uploaded first; `wait` for them. */
  async separate(song: Song | Blob, settings?: CoverSettings, more: Partial<SeparationRequest> = {}): Promise<Job> {
    return this.#make("/v1/separations", { ...more, song: await this.#id(song), ...(settings && { settings }) });
  }

  /** The events after the one numbered `after`, until the end. A lost connection is made again, and goes on where it
   * broke, as long as it takes. */
  async *events(job: Job | Training | Voice, after = 0): AsyncGenerator<JobEvent> {
    for (let failures = 0; ; ) {
      const began = after;
      const silence = new AbortController();
      let alarm = setTimeout(() => silence.abort(), SILENCE);
      try {
        const headers = { Accept: "text/event-stream", "Last-Event-ID": String(after) };
        const answer = await this.fetch(job.events, { headers, signal: silence.signal });
        if (answer.status === 204 || !answer.body) return;
        const heard = new TransformStream<Uint8Array, Uint8Array>({
          transform(block, to) {
            clearTimeout(alarm);
            alarm = setTimeout(() => silence.abort(), SILENCE);
            to.enqueue(block);
          },
        });
        const text = new TextDecoderStream() as unknown as ReadableWritablePair<string, Uint8Array>;
        const sent = answer.body.pipeThrough(heard).pipeThrough(text).pipeThrough(new EventSourceParserStream());
        const reader = sent.getReader();
        try {
          for (let next = await reader.read(); !next.done; next = await reader.read()) {
            const { id, event, data } = next.value;
            after = Number(id);
            failures = 0;
            yield { number: after, type: event as JobEvent["type"], data: JSON.parse(data) };
          }
        } finally {
          await reader.cancel().catch(() => undefined);
        }
        if (after === began) return;
      } catch (error) {
        await pause(error, ++failures);
      } finally {
        clearTimeout(alarm);
      }
    }
  }

  /** The job, training or voice as soon as it has ended; `listen` hears its events. Throws `JobFailed` if it has no
   * result. */
  async wait<T extends Job | Training | Voice>(job: T, listen: (event: JobEvent) => void = () => undefined): Promise<T> {
    for await (const event of this.events(job)) listen(event);
    const ended = await this.refresh(job);
    if (ended.state !== "done" && ended.state !== "ready") throw new JobFailed(ended);
    return ended;
  }

  /** How it is now. */
  async refresh<T extends Job | Training | Voice>(job: T): Promise<T> {
    return (await this.fetch(job.events.replace(/\/events$/, ""))).json() as Promise<T>;
  }

  /** The content of a file: `.blob()` for a player in a browser. `save` of `understudy-client/node` writes it to disk. */
  download(file: ResultFile, headers: Record<string, string> = {}): Promise<Response> {
    return this.fetch(file.href, { headers });
  }

  /** Ask a route, below the server's address. */
  #fetch(path: string, init: RequestInit = {}): Promise<Response> {
    return this.fetch(this.address.replace(/\/$/, "") + path, init);
  }

  /** Ask an address that the server named. Throws `ApiError`. */
  async fetch(href: string, init: RequestInit = {}): Promise<Response> {
    // links of the server begin at its root
    const answer = await fetch(new URL(href, this.address), { ...init, headers: { ...this.#headers, ...init.headers } });
    if (!answer.ok) throw await problem(answer);
    return answer;
  }

  async #id(song: Song | Blob): Promise<string> {
    return song instanceof Blob ? (await this.uploadSong(song)).id : song.id;
  }

  /** Send a file to its upload, as often as it breaks off and something of it has arrived. */
  async #sendPieces(file: Blob, path: string): Promise<void> {
    for (let begun = 0, failures = 0; ; ) {
      try {
        if (failures) {
          const { received } = (await (await this.#fetch(path)).json()) as Upload;
          if (received > begun) [begun, failures] = [received, 0];
        }
        const headers = { ...TUS, "Content-Type": "application/offset+octet-stream", "Upload-Offset": String(begun) };
        await this.#fetch(path, { method: "PATCH", headers, body: file.slice(begun) });
        return;
      } catch (error) {
        // 409, 423: what was sent over a lost connection is still being written, for half a minute at most
        const held = error instanceof ApiError && [409, 423].includes(error.status);
        if (++failures >= (held ? HELD : TRIES)) throw error;
        await (held ? new Promise((resolve) => setTimeout(resolve, 5000)) : pause(error, failures));
      }
    }
  }

  /** Send a request again when its connection breaks. The server carries it out once, by its key. */
  async #make<T>(path: string, body?: FormData | object, more: Record<string, string> = {}): Promise<T> {
    const json = body !== undefined && !(body instanceof FormData);
    const headers = { "Idempotency-Key": crypto.randomUUID(), ...(json && { "Content-Type": "application/json" }), ...more };
    for (let failures = 0; ; ) {
      try {
        return (await this.#fetch(path, { method: "POST", headers, body: json ? JSON.stringify(body) : body })).json() as T;
      } catch (error) {
        if (++failures === TRIES) throw error;
        await pause(error, failures);
      }
    }
  }
}

/** The message in the body of a request, if the server has signed it with `secret` in the last five minutes; throws
 * otherwise. A message may come twice: compare the header `webhook-id`. */
export function verifyWebhook(secret: string, headers: Record<string, string>, body: string): JobEnded {
  return new Webhook(secret).verify(body, headers) as JobEnded;
}

/** Wait until a request may be sent again. Throws the error of one that would be refused again. */
export async function pause(error: unknown, failures: number): Promise<void> {
  if (error instanceof ApiError && !AGAIN.includes(error.status)) throw error;
  const seconds = (error instanceof ApiError && error.retryAfter) || Math.min(30, 0.5 * 2 ** failures);
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}

function nameOf(file: Blob, name: string): string {
  return file instanceof File && file.name ? file.name : name;
}

async function problem(answer: Response): Promise<ApiError> {
  const told = await answer.json().catch(() => ({})); // a proxy's page is no JSON
  const after = Number(answer.headers.get("Retry-After") ?? Number.NaN);
  return new ApiError(
    answer.status,
    told.code ?? "unexpected",
    told.detail ?? `The server answered with status ${answer.status}.`,
    told.hint ?? "",
    told.errors ?? [],
    Number.isFinite(after) ? after : undefined,
  );
}
