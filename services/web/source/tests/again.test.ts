import { expect, test } from "vitest";
import { followed } from "../src/again";
import type { Job } from "../src/schema";

const job = {
  inputs: { song: "song_1" },
  voices: ["nova"],
  engine: "instant",
  settings: { transpose: "auto", separation: { model: "embedded" }, remix: { vocal_gain: 1, limiter: true } },
} as unknown as Job;

test("an action's settings go to their places, and the others stay", () => {
  const request = followed(job, { kind: "settings", text: "", settings: { "remix.vocal_gain": -2, transpose: -12 } });
  expect(request).toEqual({
    song: "song_1",
    voice: ["nova"],
    engine: "instant",
    preview: true,
    settings: { transpose: -12, separation: { model: "embedded" }, remix: { vocal_gain: -2, limiter: true } },
  });
  expect(job.settings.remix).toEqual({ vocal_gain: 1, limiter: true });
});

test("a preset replaces the separation and nothing else", () => {
  const request = followed(job, { kind: "settings", text: "", settings: { preset: "fast" } });
  expect(request).toMatchObject({ preset: "fast", settings: { transpose: "auto", remix: { vocal_gain: 1 } } });
  expect(request.settings).not.toHaveProperty("separation");
});
