import { useEffect, useRef } from "preact/hooks";
import WaveSurfer from "wavesurfer.js";

interface Props {
  peaks: Float32Array;
  duration: number;
  time: number;
  color: string;
  onSeek: (seconds: number) => void;
}

/** A drawn part; a click in it seeks. Keyboards and screen readers use the position slider beside it. */
export function Waveform({ peaks, duration, time, color, onSeek }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const drawn = useRef<WaveSurfer | null>(null);
  const seek = useRef(onSeek);
  seek.current = onSeek;

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
      interact: true,
    });
    surfer.on("interaction", (seconds) => seek.current(seconds));
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
  return <div class="wave" ref={place} aria-hidden="true" />;
}
