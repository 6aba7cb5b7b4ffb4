/** The lyrics of what plays, line by line in time, from a file that the visitor has. They stay in the browser. */
import { useEffect, useRef, useState } from "preact/hooks";
import { t } from "./i18n/language";
import "./lyrics.css";
import { lineAt, parseLrc } from "./lrc";
import type { Player } from "./player";

const LARGEST = 1_000_000; // bytes of a file

function remembered(song: string): string {
  try {
    return localStorage.getItem(`lyrics ${song}`) ?? "";
  } catch {
    return ""; // a browser that keeps nothing
  }
}

function remember(song: string, text: string): void {
  try {
    if (text) localStorage.setItem(`lyrics ${song}`, text);
    else localStorage.removeItem(`lyrics ${song}`);
  } catch {
    // they last until the page is left
  }
}

interface Props {
  player: Player;
  song: string; // id
  start: number; // seconds into the song at which what plays begins
}

export function Lyrics({ player, song, start }: Props) {
  const [text, setText] = useState(() => remembered(song));
  const [untimed, setUntimed] = useState(false);
  const lines = parsed(text);
  const now = lineAt(lines, player.time + start);
  const list = useRef<HTMLOListElement>(null);
  useEffect(() => {
    const line = list.current?.children[Math.max(0, now)] as HTMLElement | undefined;
    // not scrollIntoView, which would scroll the page, too
    if (line) list.current!.scrollTop = line.offsetTop - (list.current!.clientHeight - line.clientHeight) / 2;
  }, [now, text]);

  const take = async (file: File | undefined) => {
    if (!file) return;
    const read = file.size < LARGEST ? await file.text() : "";
    const timed = parseLrc(read).length > 0;
    setUntimed(!timed);
    if (timed) keep(read);
  };
  const keep = (text: string) => {
    setText(text);
    remember(song, text);
  };
  useEffect(() => {
    const drop = (event: DragEvent) => void take([...(event.dataTransfer?.files ?? [])].find(({ name }) => /\.(lrc|txt)$/i.test(name)));
    addEventListener("drop", drop);
    return () => removeEventListener("drop", drop);
  }, [song]);

  if (!lines.length)
    return (
      <div class="row">
        <label class="button">
          {t("lyrics.add")}
          <input
            class="hidden"
            type="file"
            accept=".lrc,.txt"
            onChange={(event) => {
              void take(event.currentTarget.files?.[0]);
              event.currentTarget.value = "";
            }}
          />
        </label>
        <span class="soft" role="status">
          {t(untimed ? "lyrics.untimed" : "lyrics.about")}
        </span>
      </div>
    );
  return (
    <div class="lyrics">
      <ol ref={list} aria-label={t("lyrics")}>
        {lines.map(({ at, text, words }, number) => (
          <li key={number}>
            <button aria-current={number === now ? "true" : undefined} onClick={() => void player.seek(at - start)}>
              {number === now && words.length
                ? words.map((word, place) => (
                    <span key={place} class={word.at <= player.time + start ? "sung" : ""}>
                      {word.text}
                    </span>
                  ))
                : text || "♪"}
            </button>
          </li>
        ))}
      </ol>
      <button class="plain" onClick={() => keep("")}>
        {t("lyrics.remove")}
      </button>
    </div>
  );
}

let last: { text: string; lines: ReturnType<typeof parseLrc> } = { text: "", lines: [] };

/** The lines of `text`, parsed once: this is drawn with every frame. */
function parsed(text: string) {
  if (last.text !== text) last = { text, lines: parseLrc(text) };
  return last.lines;
}
