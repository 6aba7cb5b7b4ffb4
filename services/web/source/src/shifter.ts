/** Brings sound to another key while it plays: Signalsmith Stretch (Geraint Luff), as an audio worklet. Browsers have
 * worklets over HTTPS and on localhost only. */
import address from "signalsmith-stretch?url";

interface Stretch extends AudioWorkletNode {
  schedule: (change: { active: boolean; semitones: number }) => Promise<unknown>;
  latency: () => Promise<number>;
}

type Make = ((audio: AudioContext) => Promise<Stretch>) & { moduleUrl?: string };

/** `latency`: seconds from the input to the output of `node`, which is stereo. */
export interface Shifter {
  node: AudioNode;
  latency: number;
  shift: (semitones: number) => void;
}

export async function shifter(audio: AudioContext): Promise<Shifter> {
  const { default: make } = (await import(/* @vite-ignore */ address)) as { default: Make };
  make.moduleUrl = address; // otherwise it makes one of a blob, which the page's policy forbids
  const node = await make(audio);
  const latency = await node.latency();
  node.connect(audio.destination);
  return { node, latency, shift: (semitones) => void node.schedule({ active: true, semitones }) };
}
