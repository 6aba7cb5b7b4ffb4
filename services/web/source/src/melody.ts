/** The melody that a new voice sings: where it lies for somebody, and how it sounds. */
export const SYLLABLES = ["do", "re", "mi", "fa", "so", "la", "so", "mi", "do"] as const;
export const STEPS = [0, 2, 4, 5, 7, 9, 7, 4, 0] as const; // semitones above "do"
export const BEAT = 0.65; // seconds of a note
export const COUNTED = 4; // beats before the first note
const ABOVE_SPEECH = 3; // semitones: people sing higher than they speak

/** Hz of "do". The middle of the melody lies three semitones above the middle of what was spoken; all of it stays where
 * voices are. `wanted`: notes that are missing in the recordings move it. */
export function tonic(spoken: number | null, wanted: "" | "high" | "low" = ""): number {
  const middle = (Math.min(...STEPS) + Math.max(...STEPS)) / 2;
  const moved = ABOVE_SPEECH - middle + { "": 0, high: 5, low: -5 }[wanted];
  return Math.min(400, Math.max(70, (spoken ?? 165) * 2 ** (moved / 12)));
}

/** Schedule the count-in, with the first note as a guide, and the melody if it is to be heard along. Answers when the first
 * note begins, in seconds of `audio`. */
export function play(audio: AudioContext, hertz: number, { counted = true, along = true } = {}): number {
  const start = audio.currentTime + 0.1;
  const first = start + (counted ? COUNTED * BEAT : 0);
  if (counted) {
    for (let beat = 0; beat < COUNTED; beat++) sound(audio, "square", 1200, start + beat * BEAT, 0.04, 0.05);
    sound(audio, "triangle", hertz, start, COUNTED * BEAT - 0.15, 0.12);
  }
  for (const [at, step] of along ? STEPS.entries() : [])
    sound(audio, "triangle", hertz * 2 ** (step / 12), first + at * BEAT, BEAT - 0.05, 0.15);
  return first;
}

function sound(audio: AudioContext, type: OscillatorType, hertz: number, at: number, seconds: number, gain: number) {
  const tone = audio.createOscillator();
  const level = audio.createGain();
  tone.type = type;
  tone.frequency.value = hertz;
  level.gain.setValueAtTime(0, at);
  level.gain.linearRampToValueAtTime(gain, at + 0.01);
  level.gain.setValueAtTime(gain, at + Math.max(0.01, seconds - 0.03));
  level.gain.linearRampToValueAtTime(0, at + seconds);
  tone.connect(level).connect(audio.destination);
  tone.start(at);
  tone.stop(at + seconds + 0.01);
}
