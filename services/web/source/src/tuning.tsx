/** Hearing what plays in another key or at another speed. Nothing is made anew, and nothing is kept. */
import { useState } from "preact/hooks";
import { percent as percentage, t } from "./i18n/language";
import { Slider, semitones } from "./maker";
import type { Player } from "./player";

const SECURE = "AudioWorkletNode" in globalThis;

export function Tuning({ player }: { player: Player | null }) {
  const [failed, setFailed] = useState(false);
  if (!player?.ready) return null;
  const { key, speed } = player;
  const percent = Math.round(100 * speed);
  const tune = (key: number, percent: number) =>
    void player.tune(key, percent / 100).then(
      () => setFailed(false),
      () => setFailed(true),
    );
  const changed = key !== 0 || percent !== 100;
  return (
    <details class="tuning">
      <summary>
        {t("tuning.title")}{" "}
        {changed && <span class="figure">{`${key > 0 ? "+" : key < 0 ? "−" : ""}${Math.abs(key)} · ${percentage(speed)}`}</span>}
      </summary>
      {SECURE ? (
        <div class="settings">
          <Slider
            label={t("tuning.key")}
            words={semitones}
            min={-12}
            max={12}
            step={1}
            value={key}
            onChange={(key) => tune(key, percent)}
          />
          <Slider
            label={t("tuning.speed")}
            words={(percent) => percentage(percent / 100)}
            min={50}
            max={150}
            step={5}
            value={percent}
            onChange={(percent) => tune(key, percent)}
          />
          <button disabled={!changed} onClick={() => tune(0, 100)}>
            {t("tuning.reset")}
          </button>
        </div>
      ) : (
        <p class="soft">{t("tuning.insecure")}</p>
      )}
      {failed && <p role="alert">{t("tuning.failed")}</p>}
    </details>
  );
}
