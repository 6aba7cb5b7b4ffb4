import { expect, test } from "vitest";
import { lineAt, parseLrc } from "../src/lrc";

test("lines have times, some several, in order", () => {
  const lines = parseLrc("\ufeff[ti:Rain]\r\n[01:02.50]later\r\n[00:10.5][01:30:25]again  and again\n[00:20]\nno time\n");
  expect(lines.map(({ at, text }) => [at, text])).toEqual([
    [10.5, "again and again"],
    [20, ""],
    [62.5, "later"],
    [90.25, "again and again"],
  ]);
  expect(parseLrc("plain\ntext [of] lyrics")).toEqual([]);
});

test("words have times, also where their line is sung again, and all is moved by the offset", () => {
  const [first, again] = parseLrc("[offset: +500]\n[00:01.50][00:11.50]<00:01.50>Rain <00:02.00>is <00:02.75>falling<00:03.00>");
  expect(first).toEqual({
    at: 1,
    text: "Rain is falling",
    words: [
      { at: 1, text: "Rain " },
      { at: 1.5, text: "is " },
      { at: 2.25, text: "falling" },
    ],
  });
  expect(again!.words.map(({ at }) => at)).toEqual([11, 11.5, 12.25]);
});

test("the line that is sung is the last that has begun", () => {
  const lines = parseLrc("[00:01]a\n[00:03]b");
  expect([0.5, 1, 2.9, 3, 99].map((time) => lineAt(lines, time))).toEqual([-1, 0, 0, 1, 1]);
});
