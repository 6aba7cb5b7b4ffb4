/** The songs and voices that there are: what they are called, and what is no longer needed. */
import { useRef, useState } from "preact/hooks";
import { patch, remove } from "./api";
import { useTask, useTitle } from "./hooks";
import { Card, clock, Delete, Trouble } from "./parts";
import type { Song, Voice } from "./schema";

interface Props {
  songs: readonly Song[];
  voices: readonly Voice[];
  onChange: () => Promise<void>;
}

export function Library({ songs, voices, onChange }: Props) {
  useTitle("Songs and voices");
  return (
    <article>
      <h1>Songs and voices</h1>
      <Card title="Songs">
        {!songs.length && <p class="soft">Songs that you send are listed here.</p>}
        <ul class="rows">
          {songs.map((song) => (
            <Row
              key={song.id}
              name={titleOf(song)}
              longest={400}
              about={[song.artist, clock(song.duration), song.name].filter(Boolean).join(" · ")}
              onRename={(title) => patch(`v1/songs/${song.id}`, { title }).then(onChange)}
              onDelete={() => remove(`v1/songs/${song.id}`).then(onChange)}
            />
          ))}
        </ul>
      </Card>
      <Card title="Voices">
        {!voices.length && <p class="soft">Voices that you make are listed here.</p>}
        <ul class="rows">
          {voices.map((voice) => (
            <Row
              key={voice.id}
              name={voice.name}
              longest={64}
              href={voice.state === "ready" ? `#/voices/${voice.id}` : undefined}
              about={voiceWords(voice)}
              onRename={(name) => patch(`v1/voices/${voice.id}`, { name }).then(onChange)}
              onDelete={() => remove(`v1/voices/${voice.id}`).then(onChange)}
            />
          ))}
        </ul>
      </Card>
    </article>
  );
}

export function titleOf(song: Song): string {
  return song.title ?? song.name;
}

/** What a voice is made of, or why it can't sing. */
export function voiceWords(voice: Voice): string {
  if (voice.state === "making") return "being made …";
  if (voice.error) return `${voice.error.message} ${voice.error.hint}`;
  if (voice.unusable) return voice.unusable;
  return voice.engine === "rvc" ? "trained model" : `${Math.round(voice.seconds ?? 0)} s of recordings`;
}

interface RowProps {
  name: string;
  longest: number; // letters of a name
  about: string;
  href?: string | undefined;
  onRename: (name: string) => Promise<void>;
  onDelete: () => Promise<void>;
}

/** A field that appears: what is typed replaces the name in it. */
function focus(field: HTMLInputElement | null): void {
  field?.focus();
  field?.select();
}

function Row({ name, longest, about, href, onRename, onDelete }: RowProps) {
  const { busy, problem, run } = useTask();
  const [draft, setDraft] = useState<string | null>(null);
  const place = useRef<HTMLLIElement>(null);
  const close = () => {
    setDraft(null);
    requestAnimationFrame(() => place.current?.querySelector("button")?.focus());
  };
  if (draft !== null)
    return (
      <li ref={place}>
        <form
          class="row"
          onSubmit={(event) => {
            event.preventDefault();
            run(() => onRename(draft.trim()).then(close));
          }}
        >
          <label class="grow">
            <span class="hidden">New name of {name}</span>
            <input ref={focus} required maxLength={longest} value={draft} onInput={(event) => setDraft(event.currentTarget.value)} />
          </label>
          <button class="primary" disabled={busy || !draft.trim()}>
            Rename
          </button>
          <button type="button" onClick={close}>
            Cancel
          </button>
          <Trouble problem={problem} />
        </form>
      </li>
    );
  const words = (
    <>
      <strong>{name}</strong>
      <small>{about}</small>
    </>
  );
  return (
    <li ref={place}>
      {href ? <a href={href}>{words}</a> : <div class="words">{words}</div>}
      <button class="plain" aria-label={`Rename ${name}`} onClick={() => setDraft(name)}>
        Rename
      </button>
      <Delete name={name} onDelete={onDelete} />
    </li>
  );
}
