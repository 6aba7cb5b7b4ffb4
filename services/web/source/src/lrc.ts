/** Lyrics with times: LRC files, also with times of single words ("enhanced LRC"). */

export interface Word {
  at: number; // seconds
  text: string;
}

/** A line of a song. `words`: empty where only the line has a time. */
export interface Line {
  at: number; // seconds
  text: string;
  words: Word[];
}

const TIME = String.raw`(\d{1,3}):(\d{1,2}(?:[.:]\d{1,3})?)`;
const OF_LINE = new RegExp(String.raw`^\s*\[${TIME}\]`);
const OF_WORD = new RegExp(`<${TIME}>`);
const OFFSET = /^\s*\[offset:\s*([+-]?\d+)\s*\]/im;

/** The lines that have a time, in order; none if the text has no times. A line may have several: it is sung again. The
 * tag `offset` is in milliseconds by which all is shown earlier. */
export function parseLrc(text: string): Line[] {
  const earlier = Number(OFFSET.exec(text)?.[1] ?? 0) / 1000;
  const seconds = (minutes: string, rest: string) => Math.max(0, 60 * Number(minutes) + Number(rest.replace(":", ".")) - earlier);
  const lines: Line[] = [];
  for (let rest of text.replace(/^\ufeff/, "").split(/\r\n|\r|\n/)) {
    const times: number[] = [];
    for (let found = OF_LINE.exec(rest); found; found = OF_LINE.exec(rest)) {
      times.push(seconds(found[1]!, found[2]!));
      rest = rest.slice(found[0].length);
    }
    const [first = "", ...parts] = rest.split(OF_WORD); // then minutes, seconds, text of each word
    const words: Word[] = first.trim() && times.length ? [{ at: times[0]!, text: first.trimStart() }] : [];
    for (let at = 0; at + 2 < parts.length; at += 3)
      if (parts[at + 2]!.trim()) words.push({ at: seconds(parts[at]!, parts[at + 1]!), text: parts[at + 2]! });
    const whole = [first, ...parts.filter((_, at) => at % 3 === 2)].join("").replace(/\s+/g, " ").trim();
    for (const at of times) {
      const later = at - times[0]!;
      lines.push({ at, text: whole, words: parts.length ? words.map((word) => ({ ...word, at: word.at + later })) : [] });
    }
  }
  return lines.sort((one, other) => one.at - other.at);
}

/** Which of `lines` is sung at `time`: the last one that has begun; -1 before the first. */
export function lineAt(lines: readonly { at: number }[], time: number): number {
  let found = -1;
  while (found + 1 < lines.length && lines[found + 1]!.at <= time) found++;
  return found;
}
