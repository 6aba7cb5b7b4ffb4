import { useEffect, useRef } from "preact/hooks";
import WaveSurfer from "wavesurfer.js";

interface Props {
  buffer: AudioBuffer;
  time: number;
  color: string;
  onSeek: (seconds: number) => void;
}

/** A drawn part; a click in it seeks. Keyboards and screen readers use the position slider beside it. */
export function Waveform({ buffer, time, color, onSeek }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const drawn = useRef<WaveSurfer | null>(null);
  const seek = useRef(onSeek);
  seek.current = onSeek;

  useEffect(() => {
    const style = getComputedStyle(document.documentElement);
    const surfer = WaveSurfer.create({
      container: place.current!,
      height: 72,
      barWidth: 2,
      barGap: 1,
      barRadius: 2,
      cursorWidth: 2,
      cursorColor: style.getPropertyValue("--ink"),
      waveColor: style.getPropertyValue("--faint"),
      progressColor: style.getPropertyValue(color),
      peaks: [peaks(buffer)],
      duration: buffer.duration,
      interact: true,
    });
    surfer.on("interaction", (seconds) => seek.current(seconds));
    drawn.current = surfer;
    return () => surfer.destroy();
  }, [buffer, color]);

  useEffect(() => drawn.current?.setTime(time), [time]);
  return <div class="wave" ref={place} aria-hidden="true" />;
}

/** The greatest magnitude of all channels in each of `count` equal pieces, scaled to the loudest. */
function peaks(buffer: AudioBuffer, count = 1200): Float32Array {
  const found = new Float32Array(count);
  const size = buffer.length / count;
  for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
    const samples = buffer.getChannelData(channel);
    for (let piece = 0; piece < count; piece++) {
      const stop = Math.floor((piece + 1) * size);
      let most = found[piece]!;
      for (let at = Math.floor(piece * size); at < stop; at += 4) most = Math.max(most, Math.abs(samples[at]!));
      found[piece] = most;
    }
  }
  const loudest = Math.max(1e-6, ...found);
  return found.map((value) => value / loudest);
}
