import { useCallback, useEffect, useState } from "preact/hooks";
import { ask, list, post, told, type Account, type Job, type Problem, type Voice } from "./api";
import { CoverView } from "./cover";
import { Covers } from "./covers";
import { useAddress, useTask } from "./hooks";
import { Maker } from "./maker";
import { Trouble } from "./parts";
import { VoiceView } from "./voice";

export function App() {
  const address = useAddress();
  const [account, setAccount] = useState<Account | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [voices, setVoices] = useState<Voice[] | null>(null);
  const [covers, setCovers] = useState<Job[] | null>(null);

  const look = useCallback(async () => {
    try {
      setAccount(await ask<Account>("v1/account"));
      setProblem(null);
      const [foundVoices, foundCovers] = await Promise.all([list<Voice>("v1/voices"), list<Job>("v1/covers")]);
      setVoices(foundVoices);
      setCovers(foundCovers);
    } catch (error) {
      setProblem(told(error));
    }
  }, []);

  useEffect(() => void look(), [look, address]);

  const locked = problem && ["key-missing", "key-invalid", "scope-missing"].includes(problem.code);
  const id = address.match(/^\/covers\/([\w-]+)$/)?.[1];
  const voice = address.match(/^\/voices\/([\w-]+)$/)?.[1];
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => (event.preventDefault(), document.querySelector<HTMLElement>("main")?.focus())}>
        Skip to the content
      </a>
      <header class="top">
        <a class="brand" href="#/">
          <img src="icon.svg" alt="" width="32" height="32" /> Understudy
        </a>
        <nav aria-label="Main">
          <a href="#/" aria-current={id || voice ? undefined : "page"}>
            New cover
          </a>
          {account && !account.open && (
            <button class="plain" onClick={() => void ask("v1/session", { method: "DELETE" }).then(() => location.reload())}>
              Sign out
            </button>
          )}
        </nav>
      </header>
      <main id="main" tabIndex={-1}>
        {locked ? (
          <SignIn onDone={look} />
        ) : (
          <>
            {problem && <Trouble problem={problem} />}
            {id ? (
              <CoverView key={id} id={id} voices={voices ?? []} />
            ) : voice ? (
              <VoiceView key={voice} id={voice} />
            ) : (
              <>
                <div class="hero">
                  <h1>The same song, your voice.</h1>
                  <p>Drop a song, pick a voice, and hear it sung anew. Everything stays on this server.</p>
                </div>
                <Maker voices={voices} onVoices={setVoices} />
                <Covers covers={covers} voices={voices ?? []} onChange={() => void look()} />
              </>
            )}
          </>
        )}
      </main>
      <footer>
        A voice is somebody's. Use your own, or one whose owner has agreed. Covers carry a tag that says they were made by AI.
      </footer>
    </>
  );
}

function SignIn({ onDone }: { onDone: () => Promise<void> }) {
  const { busy, problem, run } = useTask();
  const [key, setKey] = useState("");
  return (
    <section class="card">
      <h1>Sign in</h1>
      <p>This server asks for a key. Whoever runs it makes one with “understudy keys create”.</p>
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
          Key
          <input type="password" autoComplete="current-password" required value={key} onInput={(event) => setKey(event.currentTarget.value)} />
        </label>
        <button class="primary" disabled={busy}>
          Sign in
        </button>
      </form>
      <Trouble problem={problem} />
    </section>
  );
}
