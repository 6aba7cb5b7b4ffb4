/** The voices that there are: what each is made of, whose it is, how it sounds. */
import { patch } from "./api";
import { PlayButton, type Playing } from "./covers";
import { Delete } from "./notes";
import { Card } from "./parts";
import { Renaming } from "./rename";
import type { Voice } from "./schema";

/** What a voice is made of, or why it can't sing. */
export function voiceWords(voice: Voice): string {
  if (voice.state === "making") return "being made …";
  if (voice.error) return `${voice.error.message} ${voice.error.hint}`;
  if (voice.unusable) return voice.unusable;
  return voice.engine === "rvc" ? "trained model" : `${Math.round(voice.seconds ?? 0)} s of recordings`;
}

/** Whose voice it is, and what that rests on. */
export function consentWords({ consent, consent_level }: Voice): string {
  const whose = consent === "self" ? "yours" : "somebody else's";
  if (consent_level === "revoked") return "its owner has withdrawn the consent";
  if (consent_level === "verified") return `${whose}, proved by a phrase read aloud`;
  if (consent_level === "delegated") return `${whose}, by a consent file that its owner has signed`;
  return consent === "self" ? "yours, as you said" : "somebody else's, who agreed, as you said";
}

export function Voices({ voices, playing, onChange }: { voices: readonly Voice[]; playing: Playing; onChange: () => Promise<void> }) {
  return (
    <Card title="Voices">
      {!voices.length && <p class="soft">Voices that you make are listed here.</p>}
      <ul class="rows">
        {voices.map((voice) => (
          <li key={voice.id}>
            <PlayButton
              playing={playing}
              sounds={voice.recording ? [{ href: voice.recording }] : []}
              name={`a recording of ${voice.name}`}
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
