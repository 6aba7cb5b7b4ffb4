import { expect, test } from "vitest";
import { doing, leftWords } from "../src/underway";

test.each([
  [null, ""],
  [3, "almost done"],
  [31, "about 40 seconds left"],
  [55, "about 1 minute left"],
  [170, "about 3 minutes left"],
])("%s seconds left", (seconds, words) => expect(leftWords(seconds)).toBe(words));

test.each([
  ["separate", "Taking the singer and the band apart"],
  ["convert chorus", "Singing the chorus first"],
  ["convert nova", "Singing the song"],
  ["mark instrumental", "Mixing voice and band"],
  ["report", "Listening to the result"],
  [null, "Working on it"],
])("a stage %s in everyday words", (stage, words) => expect(doing(stage)).toBe(words));
