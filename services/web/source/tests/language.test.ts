import { afterEach, expect, test } from "vitest";
import { joined, number, percent, preferred, quantity, speak, t, translation } from "../src/i18n/language";

afterEach(() => speak("en"));

test.each([
  [["de-AT", "en"], "de"],
  [["ko", "pt-PT", "en"], "pt"],
  [["ko"], "en"],
  [[], "en"],
])("a browser that prefers %s", (wanted, language) => expect(preferred(wanted)).toBe(language));

test("a text with its values, in the plural form of the language", async () => {
  const words = () => [0, 1, 2, 1200].map((count) => t("library.found", { count }));
  expect(words()).toEqual(["0 songs found", "1 song found", "2 songs found", "1,200 songs found"]);
  await speak("fr"); // nothing is singular there
  expect(words()).toEqual(["0 chanson trouvée", "1 chanson trouvée", "2 chansons trouvées", "1\u202f200 chansons trouvées"]);
  await speak("ja");
  expect(words()[1]).toBe("1曲見つかりました");
  expect(t("cover.name", { title: "{singers}", version: "v2", singers: "Ada" })).toBe("{singers}、v2、歌：Ada");
});

test("figures and lists as the language writes them", async () => {
  await speak("de");
  const figures = [number(1234.5, 1), percent(0.345), quantity(40, "second"), quantity(1.25, "megabyte", true, 1)];
  expect([...figures, joined(["Ada", "Ben", "Nova"])]).toEqual(["1.234,5", "35\u00a0%", "40 Sekunden", "1,3 MB", "Ada, Ben und Nova"]);
});

test("a language with a missing, a strange or a different message doesn't compile", async () => {
  const whole = (await import("../src/i18n/en")).default;
  const { deleted, ...less } = whole;
  // @ts-expect-error: a message is missing
  translation(less);
  // @ts-expect-error: one that English hasn't got
  translation({ ...whole, other: "?" } as const);
  // @ts-expect-error: the value of another message
  translation({ ...whole, deleted: "{file} deleted." } as const);
  translation({ ...whole, deleted: "Away with {name}." } as const);
  expect(deleted).toContain("{name}");
});
