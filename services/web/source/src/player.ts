/** Plays a cover: at once as a stream and, as soon as its stems are loaded, these and whole files (the original, other
 * versions) in step, to the sample, with gains, key and speed that change while it plays.
 *
 * All sources play at the same rate, which is the speed, and are mixed; the mix alone is then brought to its key. So the
 * parts stay in step whatever the key and the speed are. */
import type { Shifter } from "./shifter";
import { soundAlone } from "./sounding";

const FADE = 0.02; // seconds over which a gain moves: no clicks
const AHEAD = 0.05; // seconds before sources start: all at one moment
const PIECES = 1200; // of which the peaks are known, for drawing and against clipping

/** A part that is loaded. `peaks`: the greatest magnitude in each of equal pieces of the cover's length. */
interface Part {
  buffer: AudioBuffer;
  offset: number; // seconds into the buffer at which the cover begins
  peaks: Float32Array;
  gain: GainNode;
}

/** A file that is heard in place of the stems. `gain`: dB by which it comes to the loudness of the others. */
export interface Whole {
  addresses: string[]; // of the same sound in several formats: the first that the browser knows
  offset: number; // seconds into it at which the cover begins
  gain: number;
}

/** What is to be loaded: addresses of the stems, which sum to the side "cover", and of the other sides by name. */
export interface Sources {
  stream: { href: string; type: string }[]; // what is heard at first, in several formats
  stems: Record<string, string>;
  wholes: Record<string, Whole>;
  duration: number; // seconds
  stemGain: number; // dB by which the stems' files were turned
  peak: number; // dBFS of the cover
}

/** Seconds that are played again and again. */
export interface Loop {
  from: number;
  to: number;
}

/** The file without an ID3v2 tag before its sound. A FLAC's signed credentials stand in one, and Firefox, which goes by
 * a file's first bytes, takes it for an MP3. */
export function untagged(file: ArrayBuffer): ArrayBuffer {
  const [i, d, three, , , , ...size] = new Uint8Array(file.slice(0, 10));
  if (String.fromCharCode(i ?? 0, d ?? 0, three ?? 0) !== "ID3" || size.length < 4) return file;
  return file.slice(10 + size.reduce((sum, seven) => sum * 128 + seven, 0));
}

export class Player {
  onchange: () => void = () => undefined;
  side = "cover";
  loop: Loop | null = null;
  playing = false;
  ready = false; // the stems are there
  key = 0; // semitones above the original, as chosen; heard as soon as what changes it is loaded
  speed = 1; // factor, as chosen
  readonly parts = new Map<string, Part>();
  readonly loaded = { bytes: 0, of: 0 };
  private readonly element = new Audio();
  private readonly levels = new Map<string, number>(); // factors of the stems; 1 is as in the cover
  private readonly stop = new AbortController();
  private audio: AudioContext | null = null;
  private out: GainNode | null = null;
  private sources: AudioBufferSourceNode[] = [];
  private shifter: Promise<Shifter> | null = null; // loaded when it is first wanted
  private rate = 1; // of the sources: the speed as it is heard
  private latency = 0; // seconds by which what is heard is behind the sources
  private begun = 0; // the context's time at which `at` was read
  private at = 0; // seconds into the cover

  constructor(private readonly wanted: Sources) {
    this.element.preload = "auto";
    for (const { href: src, type } of wanted.stream) this.element.append(Object.assign(document.createElement("source"), { src, type }));
    if (!Object.keys(wanted.stems).length) this.side = Object.keys(wanted.wholes)[0] ?? this.side;
    for (const event of ["play", "pause", "ended"])
      this.element.addEventListener(event, () => {
        if (this.ready) return;
        this.playing = !this.element.paused && !this.element.ended;
        this.onchange();
      });
  }

  get duration(): number {
    return this.wanted.duration;
  }

  get time(): number {
    if (!this.ready) return this.element.currentTime;
    if (!this.playing) return this.at;
    const time = Math.max(0, this.read - this.latency * this.rate);
    if (this.loop && time > this.loop.to) return this.loop.from + ((time - this.loop.from) % (this.loop.to - this.loop.from));
    return Math.min(this.duration, time);
  }

  /** Seconds into the cover that the sources have read, as if nothing were repeated. */
  private get read(): number {
    return this.at + (this.audio!.currentTime - this.begun) * this.rate;
  }

  /** Load everything, once the stream has what it needs, and take over where it is. Rejects if a stem can't be had. */
  async load(): Promise<void> {
    await new Promise<void>((done) => {
      if (!this.wanted.stream.length) done();
      for (const event of ["canplaythrough", "suspend", "error"]) this.element.addEventListener(event, () => done(), { once: true });
      this.element.lastElementChild?.addEventListener("error", () => done(), { once: true });
    });
    const { stems, wholes, duration } = this.wanted;
    const audio = new AudioContext();
    this.audio = audio;
    this.out = audio.createGain();
    this.out.connect(audio.destination);
    const decoded = async (name: string, [address, ...others]: string[], offset: number): Promise<void> => {
      const buffer = await audio.decodeAudioData(untagged(await this.fetched(address!))).catch((error: unknown) => {
        if (!others.length) throw error;
      });
      if (!buffer) return decoded(name, others, offset);
      this.parts.set(name, { buffer, offset, peaks: peaks(buffer, offset, duration), gain: audio.createGain() });
    };
    await Promise.all([
      ...Object.entries(stems).map(([name, address]) => decoded(name, [address], 0)),
      // the song may be gone, or in a format that browsers don't know: then there is nothing to compare with
      ...Object.entries(wholes).map(([name, whole]) => decoded(name, whole.addresses, whole.offset).catch(() => undefined)),
    ]);
    if (this.stop.signal.aborted) return;
    if (!this.parts.size) throw new Error("nothing can be loaded");
    for (const part of this.parts.values()) part.gain.connect(this.out);
    const time = this.element.currentTime;
    const playing = !this.element.paused && !this.element.ended; // also if it was begun this moment, before its event
    this.playing = false;
    this.ready = true;
    this.at = time;
    this.settle(0);
    if (playing) {
      await this.play(() => this.element.currentTime);
      setTimeout(() => this.element.pause(), 1000 * AHEAD);
    }
    this.onchange();
  }

  private async fetched(address: string): Promise<ArrayBuffer> {
    const answer = await fetch(address, { signal: this.stop.signal });
    if (!answer.ok || !answer.body) throw new Error(`${address}: ${answer.status}`);
    this.loaded.of += Number(answer.headers.get("Content-Length"));
    const pieces: Uint8Array<ArrayBuffer>[] = [];
    for (const reader = answer.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) return new Blob(pieces).arrayBuffer();
      pieces.push(value);
      this.loaded.bytes += value.length;
      this.onchange();
    }
  }

  /** The factor of a stem; 0 mutes, 1 is as loud as in the cover. */
  level(name: string, factor: number): void {
    this.levels.set(name, factor);
    this.settle(FADE);
  }

  /** Whether a side is loaded, so that it can be chosen. */
  hears(side: string): boolean {
    return this.ready && this.parts.size > 1 && (side === "cover" || this.parts.has(side));
  }

  /** Hear the stems, "cover", or a whole. */
  choose(side: string): void {
    if (!this.hears(side)) return;
    this.side = side;
    this.settle(FADE);
    this.onchange();
  }

  private settle(seconds: number): void {
    if (!this.audio || !this.ready) return;
    const set = (node: GainNode, value: number) => {
      node.gain.cancelScheduledValues(this.audio!.currentTime);
      node.gain.setTargetAtTime(value, this.audio!.currentTime, seconds / 3 || 0.0001);
    };
    const { stemGain, wholes } = this.wanted;
    for (const [name, part] of this.parts) {
      const whole = wholes[name];
      const factor = whole ? linear(whole.gain) : (this.levels.get(name) ?? 1) * linear(-stemGain);
      set(part.gain, this.side === (whole ? name : "cover") ? factor : 0);
    }
    set(this.out!, this.headroom());
  }

  /** The factor of everything with which no side goes over full scale, whatever the gains of the stems are.
   *
   * A piece of the mix is at most as high as the sum of its stems' peaks, and at most as high as the cover plus what
   * the gains change; at the cover's own gains that is the cover's peak. */
  private headroom(): number {
    let most = 1;
    for (let piece = 0; piece < PIECES; piece++) {
      let sum = 0;
      let changed = linear(this.wanted.peak);
      for (const [name, part] of this.parts) {
        const peak = part.peaks[piece]!;
        const whole = this.wanted.wholes[name];
        if (whole) {
          most = Math.max(most, peak * linear(whole.gain));
          continue;
        }
        const factor = this.levels.get(name) ?? 1;
        sum += factor * peak * linear(-this.wanted.stemGain);
        changed += Math.abs(factor - 1) * peak * linear(-this.wanted.stemGain);
      }
      most = Math.max(most, Math.min(sum, changed));
    }
    return 1 / most;
  }

  /** Begin at `from`, by default where it stands. */
  async play(from: () => number = () => (this.at >= this.duration - 0.05 ? 0 : this.at)): Promise<void> {
    if (this.playing) return;
    soundAlone(this);
    if (!this.ready) return this.element.play();
    const audio = this.audio!;
    await audio.resume();
    const begin = from() + (this.element.paused ? 0 : AHEAD); // the stream goes on until then
    const when = audio.currentTime + AHEAD;
    this.begun = when;
    this.at = begin;
    this.sources = [...this.parts.values()].map((part) => {
      const source = audio.createBufferSource();
      source.buffer = part.buffer;
      source.playbackRate.value = this.rate;
      source.connect(part.gain);
      const offset = Math.min(part.offset + begin, part.buffer.duration);
      if (!this.loop) source.start(when, offset, Math.max(0, this.duration - begin));
      else {
        source.loop = true;
        source.loopStart = part.offset + this.loop.from;
        source.loopEnd = part.offset + this.loop.to;
        source.start(when, offset);
      }
      return source;
    });
    this.sources[0]!.onended = () => {
      if (this.playing && this.read >= this.duration - 0.1) {
        this.pause();
        this.at = 0;
        this.onchange();
      }
    };
    this.playing = true;
    this.onchange();
  }

  pause(): void {
    if (!this.ready) {
      this.element.pause();
      return;
    }
    this.at = this.time;
    this.playing = false;
    for (const source of this.sources) {
      source.onended = null;
      source.stop();
    }
    this.sources = [];
    this.onchange();
  }

  /** Go there; a loop that doesn't have that place ends. */
  async seek(seconds: number, loop = this.loop): Promise<void> {
    const to = Math.max(0, Math.min(seconds, this.duration));
    if (!this.ready) this.element.currentTime = to;
    else {
      const was = this.playing;
      if (was) this.pause();
      this.loop = loop && to >= loop.from && to < loop.to ? loop : null;
      this.at = to;
      if (was) await this.play();
    }
    this.onchange();
  }

  /** Hear it `key` semitones higher, at `speed` times its speed. Rejects if what that takes can't be loaded. */
  async tune(key: number, speed: number): Promise<void> {
    if (!this.audio || !this.ready) return;
    this.key = key;
    this.speed = speed;
    this.onchange();
    if (key || speed !== 1) this.shifter ??= import("./shifter").then(({ shifter }) => shifter(this.audio!));
    const shifter = await this.shifter?.catch((error: unknown) => {
      this.shifter = null;
      throw error;
    });
    if (this.stop.signal.aborted || key !== this.key || speed !== this.speed) return; // chosen anew meanwhile
    const changed = key !== 0 || speed !== 1;
    const now = this.audio.currentTime;
    if (this.playing && now > this.begun) {
      this.at = this.read;
      this.begun = now;
    }
    this.rate = speed;
    this.latency = changed ? shifter!.latency : 0;
    for (const source of this.sources) source.playbackRate.setValueAtTime(speed, now);
    shifter?.shift(key - 12 * Math.log2(speed)); // the rate of the sources changes the key, too
    this.out!.disconnect();
    this.out!.connect(changed ? shifter!.node : this.audio.destination);
    this.onchange();
  }

  /** Play these seconds again and again, or no longer. */
  async repeat(loop: Loop | null): Promise<void> {
    const time = this.time;
    await this.seek(loop && (time < loop.from || time >= loop.to) ? loop.from : time, loop);
  }

  close(): void {
    this.onchange = () => undefined;
    this.stop.abort();
    this.pause();
    this.element.replaceChildren();
    this.element.removeAttribute("src");
    this.element.load();
    void this.audio?.close();
  }
}

export function linear(decibels: number): number {
  return 10 ** (decibels / 20);
}

/** The greatest magnitude of all channels in each piece of the `duration` seconds from `offset` on. */
function peaks(buffer: AudioBuffer, offset: number, duration: number): Float32Array {
  const found = new Float32Array(PIECES);
  const first = offset * buffer.sampleRate;
  const size = (duration * buffer.sampleRate) / PIECES;
  for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
    const samples = buffer.getChannelData(channel);
    for (let piece = 0; piece < PIECES; piece++) {
      const stop = Math.min(samples.length, Math.ceil(first + (piece + 1) * size));
      let most = found[piece]!;
      for (let at = Math.floor(first + piece * size); at < stop; at++) {
        const magnitude = Math.abs(samples[at]!);
        if (magnitude > most) most = magnitude;
      }
      found[piece] = most;
    }
  }
  return found;
}
