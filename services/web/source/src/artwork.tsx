/** The artwork of a song, or a picture drawn from its title: the same for the same title. */
import type { Song } from "./schema";

interface Props {
  song: Song | undefined;
  title: string;
  size: number; // pixels
}

export function Artwork({ song, title, size }: Props) {
  if (song?.artwork) return <img class="artwork" src={song.artwork} alt="" width={size} height={size} loading="lazy" decoding="async" />;
  const { hue, bars } = drawing(title);
  return (
    <svg class="artwork" width={size} height={size} viewBox="0 0 56 56" aria-hidden="true">
      <rect width="56" height="56" fill={`hsl(${hue} 45% 32%)`} />
      <circle cx={hue % 56} cy="12" r="34" fill={`hsl(${(hue + 50) % 360} 60% 46%)`} opacity="0.75" />
      {bars.map((height, at) => (
        <rect key={at} x={8 + 6 * at} y={28 - height / 2} width="3.4" height={height} rx="1.7" fill="#fff" opacity="0.92" />
      ))}
    </svg>
  );
}

/** A hue in degrees and the heights of seven bars, from a hash of the title (FNV-1a). */
export function drawing(title: string): { hue: number; bars: number[] } {
  let hash = 0x811c9dc5;
  for (const letter of title) hash = Math.imul(hash ^ letter.codePointAt(0)!, 0x01000193) >>> 0;
  const bars = Array.from({ length: 7 }, (_, at) => 8 + 4 * ((hash >>> (4 * at)) % 6));
  return { hue: hash % 360, bars };
}
