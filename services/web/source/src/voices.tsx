/** The voices that there are: what each is made of, whose it is, how it sounds. */
import { patch } from "./api";
import { PlayButton, type Playing } from "./covers";
import { explained, quantity, t } from "./i18n/language";
import { Delete } from "./notes";
import { Card } from "./parts";
import { Renaming } from "./rename";
import type { Voice } from "./schema";

/** What a voice is made of, or why it can't sing. */
export function voiceWords(voice: Voice): string {
  if (voice.state === "making") return t("voice.making");
  if (voice.error) return explained(voice.error);
  if (voice.unusable) return voice.unusable;
  return voice.engine === "rvc"
    ? t("voice.trained")
    : t("voice.recordings", { time: quantity(Math.round(voice.seconds ?? 0), "second", true) });
}

/** Whose voice it is, and what that rests on. */
export function consentWords({ consent, consent_level }: Voice): string {
  const whose = consent === "self" ? "self" : "granted";
  if (consent_level === "revoked") return t("consent.revoked");
  if (consent_level === "verified") return t(`consent.verified.${whose}`);
  if (consent_level === "delegated") return t(`consent.delegated.${whose}`);
  return t(`consent.stated.${whose}`);
}

export function Voices({ voices, playing, onChange }: { voices: readonly Voice[]; playing: Playing; onChange: () => Promise<void> }) {
  return (
    <Card title={t("voices")}>
      {!voices.length && <p class="soft">{t("voices.none")}</p>}
      <ul class="rows">
        {voices.map((voice) => (
          <li key={voice.id}>
            <PlayButton
              playing={playing}
              sounds={voice.recording ? [{ href: voice.recording }] : []}
              name={t("voice.recording", { name: voice.name })}
            />
            <Renaming name={voice.name} longest={64} onRename={(name) => patch(`v1/voices/${voice.id}`, { name }).then(onChange)}>
              <VoiceName voice={voice} />
            </Renaming>
            <div class="deeds">
              <Delete path={`v1/voices/${voice.id}`} name={voice.name} />
            </div>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function VoiceName({ voice }: { voice: Voice }) {
  const words = (
    <>
      <strong>{voice.name}</strong>
      <small>{[voiceWords(voice), consentWords(voice)].join(" · ")}</small>
    </>
  );
  return voice.state === "ready" ? <a href={`#/voices/${voice.id}`}>{words}</a> : <div class="words">{words}</div>;
}
