/** A drawn part. A click in it seeks, a drag chooses seconds to repeat. Keyboards and screen readers use the position
 * slider and the button beside it. */
import { useEffect, useRef, useState } from "preact/hooks";
import WaveSurfer from "wavesurfer.js";
import type { Loop } from "./player";

interface Props {
  peaks: Float32Array;
  duration: number;
  time: number;
  color: string;
  loop: Loop | null;
  onSeek: (seconds: number) => void;
  onLoop: (loop: Loop) => void;
}

const LEAST = 6; // pixels of a drag

export function Waveform({ peaks, duration, time, color, loop, onSeek, onLoop }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const drawn = useRef<WaveSurfer | null>(null);
  const [chosen, setChosen] = useState<Loop | null>(null); // while it is dragged

  useEffect(() => {
    const colors = () => {
      const style = getComputedStyle(document.documentElement);
      return {
        cursorColor: style.getPropertyValue("--ink"),
        waveColor: style.getPropertyValue("--faint"),
        progressColor: style.getPropertyValue(color),
      };
    };
    const loudest = peaks.reduce((most, peak) => Math.max(most, peak), 1e-6);
    const surfer = WaveSurfer.create({
      container: place.current!,
      height: 72,
      barWidth: 2,
      barGap: 1,
      barRadius: 2,
      cursorWidth: 2,
      ...colors(),
      peaks: [peaks.map((peak) => peak / loudest)],
      duration,
      interact: false,
    });
    drawn.current = surfer;
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const repaint = () => surfer.setOptions(colors());
    dark.addEventListener("change", repaint);
    return () => {
      dark.removeEventListener("change", repaint);
      surfer.destroy();
    };
  }, [peaks, duration, color]);
  useEffect(() => drawn.current?.setTime(time), [time]);

  const begin = (event: PointerEvent) => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const at = (x: number) => duration * Math.max(0, Math.min(1, (x - box.left) / box.width));
    const seconds = (now: PointerEvent): Loop | null => {
      const [from, to] = [event.clientX, now.clientX].sort((one, other) => one - other) as [number, number];
      return to - from < LEAST ? null : { from: at(from), to: at(to) };
    };
    const move = (now: PointerEvent) => setChosen(seconds(now));
    const end = (now: PointerEvent) => {
      for (const [type, hear] of Object.entries({ pointermove: move, pointerup: end, pointercancel: end }))
        removeEventListener(type as "pointerup", hear);
      setChosen(null);
      if (now.type === "pointercancel") return; // the page scrolls instead
      const found = seconds(now);
      if (found) onLoop(found);
      else onSeek(at(event.clientX));
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", end);
    addEventListener("pointercancel", end);
  };
  const shown = chosen ?? loop;
  const percent = (of: number) => `${(100 * of) / duration}%`;
  return (
    <div class="wave" aria-hidden="true" onPointerDown={begin}>
      <div ref={place} />
      {shown && <div class="loop" style={{ left: percent(shown.from), width: percent(shown.to - shown.from) }} />}
    </div>
  );
}
