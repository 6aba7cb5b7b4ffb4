import type { ComponentChildren } from "preact";
import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import { ask, list, type Problem, post, remove, told } from "./api";
import { CoverView } from "./cover";
import { SongGroups, usePlaying } from "./covers";
import { Demo } from "./demo";
import { isActive, useAddress, usePolling, useTask, useTitle } from "./hooks";
import { choose, LANGUAGES, type Language, t, useLanguage } from "./i18n/language";
import { later } from "./later";
import { Library } from "./library";
import { type Draft, Maker } from "./maker";
import { Notes, TellingProvider, useNotes } from "./notes";
import { Card, Trouble } from "./parts";
import type { Account, Choices, Job, Song, Voice } from "./schema";
import { SongView } from "./song";
import { bySong, type SongGroup, visible } from "./versions";

const VerifyView = later(() => import("./verify").then((found) => found.VerifyView));
const VoiceView = later(() => import("./voice").then((found) => found.VoiceView));
const SeparationView = later(() => import("./separation").then((found) => found.SeparationView));

/** What the server has of its visitor's. */
interface Found {
  songs: Song[];
  voices: Voice[];
  covers: Job[];
  separations: Job[];
  choices: Choices;
}

/** `items` with `changed` in place of those with their ids. */
function updated<T extends { id: string }>(items: T[], changed: readonly T[]): T[] {
  return items.map((item) => changed.find((one) => one.id === item.id) ?? item);
}

/** A file that is dropped beside what takes it must not open in place of the page. */
function stayHere(): () => void {
  const stay = (event: DragEvent) => !(event.target as Element).closest?.("input[type=file]") && event.preventDefault();
  for (const type of ["dragover", "drop"] as const) addEventListener(type, stay);
  return () => {
    for (const type of ["dragover", "drop"] as const) removeEventListener(type, stay);
  };
}

export function App() {
  const address = useAddress();
  const language = useLanguage();
  const [account, setAccount] = useState<Account | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [found, setFound] = useState<Found | null>(null);
  const [draft, setDraft] = useState<Draft>({ song: null, voice: null, preset: "", settings: {} });

  const look = useCallback(async () => {
    try {
      setAccount(await ask<Account>("v1/account"));
      const [songs, voices, covers, separations, choices] = await Promise.all([
        list<Song>("v1/songs"),
        list<Voice>("v1/voices"),
        list<Job>("v1/covers"),
        list<Job>("v1/separations"),
        ask<Choices>("v1/choices"),
      ]);
      setFound({ songs, voices, covers, separations, choices });
      setProblem(null);
    } catch (error) {
      setProblem(told(error));
    }
  }, []);
  useEffect(() => void look(), [look, address]);
  useEffect(stayHere, []);

  useEffect(() => {
    const again = () => void (document.hidden || look()); // other tabs and programs change things, too
    const timer = setInterval(again, 30_000);
    document.addEventListener("visibilitychange", again);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", again);
    };
  }, [look]);

  const { notes, hidden, telling, undo } = useNotes(look);
  const all = useMemo(() => bySong(found?.songs ?? [], found?.covers ?? []), [found, language]);
  const groups = visible(all, hidden);
  const shown = found && {
    songs: found.songs.filter(({ id }) => !hidden.has(`v1/songs/${id}`)),
    voices: found.voices.filter(({ id }) => !hidden.has(`v1/voices/${id}`)),
    choices: found.choices,
  };

  const active = found && {
    voices: found.voices.filter(isActive),
    covers: found.covers.filter(isActive),
    separations: found.separations.filter(isActive),
  };
  const follow = async () => {
    const voices = await Promise.all(active!.voices.map((voice) => ask<Voice>(`v1/voices/${voice.id}`)));
    const covers = await Promise.all(active!.covers.map((job) => ask<Job>(`v1/covers/${job.id}`)));
    const separations = await Promise.all(active!.separations.map((job) => ask<Job>(`v1/separations/${job.id}`)));
    setFound(
      (now) =>
        now && {
          ...now,
          voices: updated(now.voices, voices),
          covers: updated(now.covers, covers),
          separations: updated(now.separations, separations),
        },
    );
    return true;
  };
  usePolling(active && active.voices.length + active.covers.length + active.separations.length ? follow : null, 2);

  const locked = problem && ["key-missing", "key-invalid", "scope-missing"].includes(problem.code);
  const [, view, id] = address.split("/");
  return (
    <TellingProvider value={telling}>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          document.querySelector<HTMLElement>("main")?.focus();
        }}
      >
        {t("app.skip")}
      </a>
      <header class="top">
        <a class="brand" href="#/">
          <img src="icon.svg" alt="" width="32" height="32" /> Understudy
        </a>
        <nav aria-label={t("app.menu")}>
          <a href="#/" aria-current={view ? undefined : "page"}>
            {t("app.new")}
          </a>
          <a href="#/library" aria-current={view === "library" ? "page" : undefined}>
            {t("app.library")}
          </a>
          <a href="#/verify" aria-current={view === "verify" ? "page" : undefined}>
            {t("app.check")}
          </a>
          {account && !account.open && (
            <button class="plain" onClick={() => void remove("v1/session").then(() => location.reload())}>
              {t("app.sign-out")}
            </button>
          )}
          <LanguageChoice />
        </nav>
      </header>
      <main id="main" tabIndex={-1}>
        {view === "verify" ? (
          <VerifyView />
        ) : locked ? (
          <SignIn onDone={look} />
        ) : (
          <>
            {problem && <Trouble problem={problem} />}
            {view === "covers" && id ? (
              <CoverView key={id} id={id} formats={found?.choices.formats ?? []} />
            ) : view === "separations" && id ? (
              <SeparationView key={id} id={id} />
            ) : view === "voices" && id ? (
              <VoiceView key={id} id={id} />
            ) : view === "library" ? (
              shown && <Library groups={groups} voices={shown.voices} onChange={look} />
            ) : view === "songs" && id ? (
              found && (
                <SongView
                  key={id}
                  group={groups.find((one) => one.id === id)}
                  separations={found.separations.filter((one) => !hidden.has(`v1/separations/${one.id}`))}
                  onChange={look}
                  onCover={(song) => {
                    setDraft((before) => ({ ...before, song }));
                    location.hash = "/";
                  }}
                />
              )
            ) : (
              <Home>
                {shown && (
                  <>
                    {!found?.covers.length && (
                      <Demo
                        voices={shown.voices}
                        onTaken={async (song, voice) => {
                          await look();
                          setDraft((before) => ({ ...before, song, voice }));
                        }}
                      />
                    )}
                    <Maker {...shown} draft={draft} onDraft={setDraft} onChange={look} />
                    <Recent groups={groups} />
                  </>
                )}
              </Home>
            )}
          </>
        )}
      </main>
      <footer>{t("app.footer")}</footer>
      <Notes notes={notes} onUndo={undo} />
    </TellingProvider>
  );
}

function LanguageChoice() {
  const language = useLanguage();
  return (
    <select
      class="language"
      aria-label={t("app.language")}
      value={language}
      onChange={(event) => void choose(event.currentTarget.value as Language)}
    >
      {LANGUAGES.map(([one, name]) => (
        <option key={one} value={one} lang={one}>
          {name}
        </option>
      ))}
    </select>
  );
}

function Home({ children }: { children: ComponentChildren }) {
  useTitle("");
  return (
    <>
      <div class="hero">
        <h1 tabIndex={-1}>{t("home.title")}</h1>
        <p>{t("home.about")}</p>
      </div>
      {children}
    </>
  );
}

const RECENT = 5;

/** The songs that were covered last. */
function Recent({ groups }: { groups: readonly SongGroup[] }) {
  const playing = usePlaying();
  const covered = groups.filter((group) => group.versions.length);
  return (
    <Card title={t("home.covers")}>
      {!covered.length && <p class="soft">{t("home.none")}</p>}
      <SongGroups groups={covered.slice(0, RECENT)} playing={playing} />
      {covered.length > RECENT && <a href="#/library">{t("home.all", { count: covered.length })}</a>}
    </Card>
  );
}

function SignIn({ onDone }: { onDone: () => Promise<void> }) {
  const { busy, problem, run } = useTask();
  const [key, setKey] = useState("");
  return (
    <section class="card">
      <h1>{t("sign-in.title")}</h1>
      <p>{t("sign-in.about")}</p>
      <form
        class="row"
        onSubmit={(event) => {
          event.preventDefault();
          run(async () => {
            await post("v1/session", { key: key.trim() });
            await onDone();
          });
        }}
      >
        <label class="grow">
          {t("sign-in.key")}
          <input
            type="password"
            autoComplete="current-password"
            required
            value={key}
            onInput={(event) => setKey(event.currentTarget.value)}
          />
        </label>
        <button class="primary" disabled={busy}>
          {t("sign-in.title")}
        </button>
      </form>
      <Trouble problem={problem} />
    </section>
  );
}
