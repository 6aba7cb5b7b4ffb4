/** Playing, seeking and repeating a player's sound, by mouse and by keys. */
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { t } from "./i18n/language";
import { Icon, PAUSE, PLAY } from "./icons";
import { Bar, clock, megabytes } from "./parts";
import { Player, type Sources } from "./player";

/** Seconds of sound of which a browser can hold several versions, decoded. */
export const LONGEST = 1200;

/** A player of `sources`, made anew for another `id`, where the one before stood. It loads what they have besides their
 * stream if they `load`; null before the first drawing. */
export function usePlayer(id: string, load: boolean, sources: () => Sources): { player: Player | null; failed: boolean } {
  const [player, setPlayer] = useState<Player | null>(null);
  const [failed, setFailed] = useState(false);
  const [, redraw] = useState(0);

  useEffect(() => {
    const made = new Player(sources());
    made.onchange = () => redraw((count) => count + 1);
    setPlayer(made);
    setFailed(false);
    if (load) made.load().catch(() => setFailed(true));
    return () => made.close();
  }, [id]);

  useEffect(() => {
    if (!player?.playing) return;
    let frame = requestAnimationFrame(function look() {
      redraw((count) => count + 1);
      frame = requestAnimationFrame(look);
    });
    return () => cancelAnimationFrame(frame);
  }, [player, player?.playing]);
  return { player, failed };
}

export interface Side {
  side: string;
  words: string;
}

interface Props {
  player: Player | null;
  duration: number;
  children?: ComponentChildren; // beside the position
}

export function Transport({ player, duration, children }: Props) {
  const [from, setFrom] = useState<number | null>(null); // where a loop begins whose end isn't chosen yet
  const time = player?.time ?? 0;
  const loop = player?.loop;
  const repeat = () => {
    if (!player) return;
    if (loop) void player.repeat(null);
    else if (from === null) return setFrom(time);
    else if (Math.abs(time - from) > 0.2) void player.repeat({ from: Math.min(from, time), to: Math.max(from, time) });
    setFrom(null);
  };
  const words = loop
    ? t("repeat.on", { from: clock(loop.from), to: clock(loop.to) })
    : from === null
      ? t("repeat.from")
      : t("repeat.to", { from: clock(from) });
  return (
    <div class="row transport">
      <button class="play" aria-label={t(player?.playing ? "pause" : "play")} onClick={() => player && toggle(player)}>
        <Icon path={player?.playing ? PAUSE : PLAY} />
      </button>
      <span class="time">
        {clock(time)} / {clock(duration)}
      </span>
      <input
        class="seek"
        type="range"
        aria-label={t("position")}
        aria-valuetext={clock(time)}
        min={0}
        max={duration}
        step={0.1}
        value={time}
        onInput={(event) => void player?.seek(Number(event.currentTarget.value))}
      />
      {player?.ready && (
        <button class="repeat" aria-pressed={!!loop} onClick={repeat}>
          {words}
        </button>
      )}
      {children}
    </div>
  );
}

/** Which side is heard. */
export function Sides({ player, sides }: { player: Player | null; sides: readonly Side[] }) {
  return (
    <div class="sides" role="radiogroup" aria-label={t("sides")}>
      {sides.map(({ side, words }, at) => (
        <label key={side}>
          <input
            type="radio"
            name="side"
            disabled={!player?.hears(side)}
            checked={player?.side === side}
            onChange={() => player?.choose(side)}
          />
          <span>
            {"ABC"[at]} · {words}
          </span>
        </label>
      ))}
    </div>
  );
}

/** How much has been loaded, while the player loads. */
export function Loading({ player, children }: { player: Player | null; children: ComponentChildren }) {
  const { bytes, of } = player?.loaded ?? { bytes: 0, of: 0 };
  return (
    <p class="loading soft">
      <Bar label={t("loading")} fraction={of ? bytes / of : 0} />
      {children} {of > 0 && t("loading.bytes", { bytes: megabytes(bytes), all: megabytes(of) })}
    </p>
  );
}

function toggle(player: Player): void {
  if (player.playing) player.pause();
  else void player.play();
}

const CONTROLS = "button, summary, input[type=range], input[type=radio], input[type=checkbox]";

/** The player's keys, wherever the focus is, except where an element has a use of its own for the key. What was clicked
 * with the mouse keeps no focus, or it would take the player's keys. */
export function useKeys(player: Player | null, sides: readonly Side[]): void {
  const names = sides.map((one) => one.side).join(" ");
  useEffect(() => {
    if (!player) return;
    const press = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      const text = "input:not([type=range], [type=radio], [type=checkbox])";
      const own = event.key === " " ? `${CONTROLS}, a` : event.key.startsWith("Arrow") ? "input" : "";
      if (event.ctrlKey || event.metaKey || event.altKey || target.matches([text, "select, textarea", own].filter(Boolean).join())) return;
      const side = event.key.length === 1 ? names.split(" ")["abc".indexOf(event.key)] : undefined;
      if (side) player.choose(side);
      else if (event.key === " ") toggle(player);
      else if (event.key === "ArrowLeft") void player.seek(player.time - 5);
      else if (event.key === "ArrowRight") void player.seek(player.time + 5);
      else return;
      event.preventDefault();
    };
    const release = () => document.activeElement?.matches(CONTROLS) && (document.activeElement as HTMLElement).blur();
    const clicked = (event: MouseEvent) => {
      if (event.detail === 0) return; // by the keyboard
      release();
      setTimeout(release); // a label's click comes to its control, and focuses it, after this
    };
    addEventListener("keydown", press);
    addEventListener("click", clicked);
    return () => {
      removeEventListener("keydown", press);
      removeEventListener("click", clicked);
    };
  }, [player, names]);
}
