/** Plays a cover's stems and the original in step, to the sample, with gains that change while it plays. */

export type Part = "vocals" | "instrumental" | "original";
export type Side = "cover" | "original";

const FADE = 0.02; // seconds over which a gain moves: no clicks

export class Player {
  readonly parts = new Map<Part, AudioBuffer>();
  onchange: () => void = () => undefined;
  side: Side = "cover";
  playing = false;
  private readonly gains = new Map<Part, GainNode>();
  private readonly levels = new Map<Part, number>();
  private sources: AudioBufferSourceNode[] = [];
  private begun = 0; // the context's time at which the song's beginning would have sounded
  private at = 0; // seconds into the song while it stands still

  private constructor(private readonly audio: AudioContext) {}

  /** Fetch and decode; `progress` hears 0 to 1. `evenGain` is the original's factor to the cover's loudness. */
  static async load(addresses: Record<Part, string>, evenGain: number, progress: (fraction: number) => void): Promise<Player> {
    const player = new Player(new AudioContext());
    const entries = Object.entries(addresses) as [Part, string][];
    let done = 0;
    await Promise.all(
      entries.map(async ([part, address]) => {
        const answer = await fetch(address);
        if (!answer.ok) throw new Error(`${part}: ${answer.status}`);
        player.parts.set(part, await player.audio.decodeAudioData(await answer.arrayBuffer()));
        progress(++done / entries.length);
      }),
    );
    // both sides at one loudness, and neither louder than it is
    const most = Math.max(1, evenGain);
    player.levels.set("vocals", 1).set("instrumental", 1).set("original", evenGain / most);
    const out = player.audio.createGain();
    out.gain.value = 1;
    out.connect(player.audio.destination);
    for (const part of player.parts.keys()) {
      const gain = player.audio.createGain();
      gain.connect(out);
      player.gains.set(part, gain);
    }
    player.coverScale = 1 / most;
    player.settle(0);
    return player;
  }

  private coverScale = 1;

  get duration(): number {
    return Math.max(...[...this.parts.values()].map((buffer) => buffer.duration));
  }

  get time(): number {
    return Math.min(this.duration, this.playing ? Math.max(0, this.audio.currentTime - this.begun) : this.at);
  }

  /** `factor` 0 mutes. */
  level(part: Part, factor: number): void {
    this.levels.set(part, factor);
    this.settle(FADE);
  }

  choose(side: Side): void {
    this.side = side;
    this.settle(FADE);
    this.onchange();
  }

  private settle(seconds: number): void {
    for (const [part, node] of this.gains) {
      const heard = (part === "original") === (this.side === "original");
      const scale = part === "original" ? 1 : this.coverScale;
      const value = heard ? (this.levels.get(part) ?? 1) * scale : 0;
      node.gain.cancelScheduledValues(this.audio.currentTime);
      node.gain.setTargetAtTime(value, this.audio.currentTime, seconds / 3 || 0.0001);
    }
  }

  async play(): Promise<void> {
    if (this.playing) return;
    await this.audio.resume();
    const from = this.at >= this.duration - 0.05 ? 0 : this.at;
    const when = this.audio.currentTime + 0.05; // all parts start at one moment
    this.begun = when - from;
    this.sources = [...this.parts].map(([part, buffer]) => {
      const source = this.audio.createBufferSource();
      source.buffer = buffer;
      source.connect(this.gains.get(part)!);
      source.start(when, Math.min(from, buffer.duration));
      return source;
    });
    this.sources[0]!.onended = () => {
      if (this.playing && this.time >= this.duration - 0.1) {
        this.pause();
        this.at = 0;
        this.onchange();
      }
    };
    this.playing = true;
    this.onchange();
  }

  pause(): void {
    this.at = this.time;
    this.playing = false;
    for (const source of this.sources) {
      source.onended = null;
      source.stop();
    }
    this.sources = [];
    this.onchange();
  }

  async seek(seconds: number): Promise<void> {
    const was = this.playing;
    if (was) this.pause();
    this.at = Math.max(0, Math.min(seconds, this.duration));
    if (was) await this.play();
    this.onchange();
  }

  close(): void {
    this.onchange = () => undefined;
    if (this.playing) this.pause();
    void this.audio.close();
  }
}
