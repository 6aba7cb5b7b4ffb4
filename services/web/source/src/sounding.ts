/** One thing sounds at a time: what begins pauses what sounded before. */
interface Sounding {
  pause(): void;
}

let sounding: Sounding | null = null;

export function soundAlone(one: Sounding): void {
  if (sounding !== one) sounding?.pause();
  sounding = one;
}
