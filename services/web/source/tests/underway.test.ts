import { afterEach, expect, test } from "vitest";
import { speak } from "../src/i18n/language";
import { aboutWords, doing, leftWords } from "../src/underway";

afterEach(() => speak("en"));

test.each([
  [null, ""],
  [3, "almost done"],
  [31, "about 40 seconds left"],
  [55, "about 1 minute left"],
  [170, "about 3 minutes left"],
])("%s seconds left", (seconds, words) => expect(leftWords(seconds)).toBe(words));

test.each([
  ["es", "aproximadamente 1 minuto", "aproximadamente 1 minuto más"],
  ["pt", "cerca de 1 minuto", "ainda cerca de 1 minuto"],
] as const)("a single minute in %s has no plural beside it", async (language, about, left) => {
  await speak(language);
  expect([aboutWords(60), leftWords(60)]).toEqual([about, left]);
});

test.each([
  ["separate", "Taking the singer and the band apart"],
  ["convert chorus", "Singing the chorus first"],
  ["convert nova", "Singing the song"],
  ["mark instrumental", "Mixing voice and band"],
  ["report", "Listening to the result"],
  [null, "Working on it"],
])("a stage %s in everyday words", (stage, words) => expect(doing(stage)).toBe(words));
