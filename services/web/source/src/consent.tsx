/** Proving whose voice it is: a phrase made up for this voice is read aloud. */
import { useEffect, useState } from "preact/hooks";
import { ask, post, upload } from "./api";
import { useTask } from "./hooks";
import { withheld } from "./microphone";
import { Trouble } from "./parts";
import { Recorder, type Take } from "./recorder";
import type { Account, Challenge, Voice } from "./schema";

export function Consent({ voice, onChange }: { voice: Voice; onChange: (voice: Voice) => void }) {
  const { busy, problem, run } = useTask();
  const [needed, setNeeded] = useState(false);
  const [challenge, setChallenge] = useState<Challenge | null>(null);
  const [skipped, setSkipped] = useState(false);
  useEffect(() => void ask<Account>("v1/account").then((account) => setNeeded(account.consent === "verified"), Boolean), []);

  if (voice.consent_level === "verified") return <p class="fine">Proven by a phrase read aloud: this voice is who made it.</p>;
  if (skipped || voice.consent_level !== "stated" || !voice.recording) return null;

  const begin = () => run(async () => setChallenge(await post<Challenge>(`v1/voices/${voice.id}/consent/challenge`, undefined)));
  const answer = (take: Take | null) => {
    if (!take) return;
    run(async () => {
      const form = new FormData();
      form.append("recording", take.file);
      const proven = upload<Voice>(`v1/voices/${voice.id}/consent/recording`, form, () => undefined);
      onChange(await proven.finally(() => setChallenge(null)));
    });
  };
  return (
    <section class="panel" aria-label="Prove that it is your voice">
      <strong>{needed ? "One more thing: prove that it is your voice" : "Prove that it is your voice"}</strong>
      <p class="soft">
        You read aloud a phrase that is made up now. It shows that nobody used an old recording of you.
        {needed && " On this server a voice can sing only after that."}
      </p>
      {challenge && !busy ? (
        <Recorder name="phrase" check={false} onTake={answer}>
          <span>Read this aloud, at an even pace:</span>
          <q>{challenge.phrase}</q>
        </Recorder>
      ) : (
        <div class="row">
          <button type="button" class={needed ? "primary" : ""} disabled={busy || !!withheld()} onClick={begin}>
            {busy ? "Listening to it …" : problem ? "Try another phrase" : "Show me the phrase"}
          </button>
          {!needed && !busy && (
            <button type="button" class="plain" onClick={() => setSkipped(true)}>
              Not now
            </button>
          )}
        </div>
      )}
      <Trouble problem={problem ?? withheld()} />
    </section>
  );
}
