/** Short notes at the lower edge of the page, and what is deleted after some seconds in which that can be undone.
 *
 * Until then the thing is there on the server and only hidden here. A page that is left deletes at once what it hides. */
import { createContext } from "preact";
import { useCallback, useContext, useEffect, useRef, useState } from "preact/hooks";
import { type Problem, remove, told } from "./api";
import { t } from "./i18n/language";
import { DELETE, Icon } from "./icons";

const UNDO = 10; // seconds
const READ = 5; // seconds for which a note is shown

interface Note {
  key: number;
  words: string;
  path?: string; // what is to be deleted
  problem?: Problem;
}

interface Telling {
  say: (words: string) => void;
  discard: (path: string, name: string) => void;
}

const Context = createContext<Telling>({ say: () => undefined, discard: () => undefined });

/** How a part of the page says something or deletes something. */
export function useTelling(): Telling {
  return useContext(Context);
}

export const TellingProvider = Context.Provider;

/** The notes of the page; `hidden`: paths of what is about to be deleted; `onChange` is called after a deletion. */
export function useNotes(onChange: () => Promise<void>): {
  notes: readonly Note[];
  hidden: ReadonlySet<string>;
  telling: Telling;
  undo: (note: Note) => void;
} {
  const [notes, setNotes] = useState<readonly Note[]>([]);
  const last = useRef(0);
  const waiting = useRef(new Map<number, { timer: number; path: string | undefined }>()); // notes that are shown
  const changed = useRef(onChange);
  changed.current = onChange;

  const drop = useCallback((key: number) => {
    clearTimeout(waiting.current.get(key)?.timer);
    waiting.current.delete(key);
    setNotes((now) => now.filter((one) => one.key !== key));
  }, []);
  const add = useCallback(
    (note: Omit<Note, "key">, seconds: number, then?: (key: number) => Promise<void>) => {
      const key = ++last.current;
      setNotes((now) => [...now, { ...note, key }]);
      const end = () => void (then?.(key) ?? Promise.resolve()).finally(() => drop(key));
      waiting.current.set(key, { timer: window.setTimeout(end, 1000 * seconds), path: note.path });
    },
    [drop],
  );
  const telling = useRef<Telling>({
    say: (words) => add({ words }, READ),
    discard: (path, name) =>
      add({ words: t("deleted", { name }), path }, UNDO, async () => {
        await remove(path)
          .then(() => changed.current())
          .catch((error: unknown) => add({ words: "", problem: told(error) }, UNDO));
      }),
  });
  useEffect(() => {
    const leave = () => {
      for (const { path } of waiting.current.values())
        if (path) void fetch(path, { method: "DELETE", keepalive: true }).catch(() => undefined);
    };
    addEventListener("pagehide", leave);
    return () => removeEventListener("pagehide", leave);
  }, []);
  const hidden = new Set(notes.flatMap(({ path }) => path ?? []));
  return { notes, hidden, telling: telling.current, undo: (note) => drop(note.key) };
}

export function Notes({ notes, onUndo }: { notes: readonly Note[]; onUndo: (note: Note) => void }) {
  return (
    <div class="notes" role="status">
      {notes.map((note) => (
        <div key={note.key} class={note.problem ? "note trouble" : "note"}>
          <span>{note.problem ? `${note.problem.message} ${note.problem.hint}` : note.words}</span>
          {note.path && <Undo note={note} onUndo={onUndo} />}
        </div>
      ))}
    </div>
  );
}

/** Takes the focus from the row that is gone. Where it still has it at the end, the page's heading gets it. */
function Undo({ note, onUndo }: { note: Note; onUndo: (note: Note) => void }) {
  const place = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    const button = place.current;
    button?.focus();
    return () => {
      if (document.activeElement === button || document.activeElement === document.body)
        document.querySelector<HTMLElement>("main h1")?.focus({ preventScroll: true });
    };
  }, []);
  return (
    <button ref={place} onClick={() => onUndo(note)}>
      {t("undo")}
    </button>
  );
}

/** Deletes what is at `path` of the API, with time to undo it. */
export function Delete({ path, name }: { path: string; name: string }) {
  const { discard } = useTelling();
  return (
    <button class="icon" aria-label={t("delete.it", { name })} title={t("delete")} onClick={() => discard(path, name)}>
      <Icon path={DELETE} />
    </button>
  );
}
