import { expect, test } from "vitest";
import { clock, decibels, megabytes } from "../src/parts";

test.each([
  [0, "0:00"],
  [59.9, "0:59"],
  [222, "3:42"],
  [3600, "60:00"],
  [null, ""],
  [Number.NaN, ""],
])("a time of %s seconds", (seconds, words) => expect(clock(seconds)).toBe(words));

test("figures with their units", () => {
  expect([84_321_000, 1_250_000].map(megabytes)).toEqual(["84 MB", "1.3 MB"]);
  expect([3, 0, -1.25].map(decibels)).toEqual(["+3.0 dB", "0.0 dB", "−1.3 dB"]);
});
