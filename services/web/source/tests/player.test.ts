import { expect, test } from "vitest";
import { untagged } from "../src/player";

const bytes = (...values: (number | string)[]) =>
  new Uint8Array(values.flatMap((value) => (typeof value === "string" ? [...value].map((letter) => letter.charCodeAt(0)) : value))).buffer;

test("a tag before the sound is left out, whose length is four times seven bits", () => {
  const tag = new Array(130).fill(0);
  expect(untagged(bytes("ID3", 4, 0, 0, 0, 0, 1, 2, ...tag, "fLaC"))).toEqual(bytes("fLaC"));
  for (const other of [bytes("fLaC and more"), bytes("ID3"), bytes()]) expect(untagged(other)).toBe(other);
});
