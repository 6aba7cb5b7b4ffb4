/** Proving whose voice it is: a phrase made up for this voice is read aloud. */
import { useEffect, useState } from "preact/hooks";
import { ask, post, upload } from "./api";
import { useTask } from "./hooks";
import { t } from "./i18n/language";
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

  if (voice.consent_level === "verified") return <p class="fine">{t("prove.done")}</p>;
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
    <section class="panel" aria-label={t("prove")}>
      <strong>{t(needed ? "prove.needed" : "prove")}</strong>
      <p class="soft">
        {t("prove.about")} {needed && t("prove.needed.about")}
      </p>
      {challenge && !busy ? (
        <Recorder name="phrase" check={false} onTake={answer}>
          <span>{t("prove.read")}</span>
          <q>{challenge.phrase}</q>
        </Recorder>
      ) : (
        <div class="row">
          <button type="button" class={needed ? "primary" : ""} disabled={busy || !!withheld()} onClick={begin}>
            {t(busy ? "listening" : problem ? "prove.again" : "prove.begin")}
          </button>
          {!needed && !busy && (
            <button type="button" class="plain" onClick={() => setSkipped(true)}>
              {t("prove.later")}
            </button>
          )}
        </div>
      )}
      <Trouble problem={problem ?? withheld()} />
    </section>
  );
}
