import { expect, test } from "vitest";
import { STEPS, tonic } from "../src/melody";

test("the melody lies around three semitones above where somebody speaks", () => {
  const middle = tonic(110) * 2 ** (Math.max(...STEPS) / 2 / 12);
  expect(12 * Math.log2(middle / 110)).toBeCloseTo(3);
});

test("missing notes move it, and it stays where voices are", () => {
  expect(tonic(150, "high")).toBeGreaterThan(tonic(150));
  expect(tonic(150, "low")).toBeLessThan(tonic(150));
  expect([tonic(30), tonic(2000)]).toEqual([70, 400]);
  expect(tonic(null)).toBe(tonic(165));
});
