import { expect, test } from "vitest";
import { comparison, inStep } from "../src/compare";
import type { CoverSettings, Job, Song } from "../src/schema";
import { bySinger, bySong, matching, versionWords, visible } from "../src/versions";

function song(id: string, title: string | null, name = `${id}.mp3`): Song {
  return { id, title, name, artist: "Ada", created: "2026-01-01T00:00:00Z", audio: `/v1/songs/${id}/audio` } as Song;
}

let seconds = 0;
function cover(id: string, of: string, singer: string, settings: CoverSettings = {}, more: Partial<Job> = {}): Job {
  const created = new Date(1.8e12 + 1000 * seconds++).toISOString();
  const audio = { href: `/v1/covers/${id}/audio`, name: `${id}.flac`, type: "audio/flac", bytes: 1 };
  const about = { id, name: of, inputs: { song: of }, singers: [singer], engine: null, stream: null, audio, created, settings };
  return { ...about, ...more } as Job;
}

const COVERS = [
  cover("1", "rain", "Nova", { remix: { vocal_gain: 1 }, output: { name: "a" } }),
  cover("2", "rain", "Ada", { transpose: 5 }),
  cover("3", "rain", "Nova", { remix: { vocal_gain: 5, reverb_gain: null }, key: 2, output: { name: "b", format: "mp3" } }),
  cover("4", "rain", "Nova", { remix: { vocal_gain: 5, reverb_gain: null }, key: 2, output: { name: "b", format: "mp3" } }),
  cover("5", "gone", "Nova", { song: { start: 5, duration: 10 } }),
].reverse(); // as the API lists them
const GROUPS = bySong([song("rain", "Évening Rain"), song("new", null, "New one.wav")], COVERS);

test("covers are the numbered versions of their song, with what changed since the singer's version before", () => {
  expect(GROUPS.map(({ id, title, song, versions }) => [id, title, !!song, versions.length])).toEqual([
    ["gone", "gone", false, 1],
    ["rain", "Évening Rain", true, 4],
    ["new", "New one", true, 0],
  ]);
  expect(GROUPS[1]!.versions.map(versionWords)).toEqual([
    "v4 · Nova · the same again",
    "v3 · Nova · vocal +4 dB, no reverb, key +2, as mp3",
    "v2 · Ada",
    "v1 · Nova",
  ]);
});

test("singers have what they sing, the latest first", () => {
  const found = bySinger(GROUPS).map(({ singers, sung }) => [singers, sung.map(({ version }) => version.job.id)]);
  expect(found).toEqual([
    ["Nova", ["5", "4", "3", "1"]],
    ["Ada", ["2"]],
  ]);
});

test.each([
  ["evening", [["rain", 4]]],
  ["RAIN ada v2", [["rain", 1]]],
  ["+4 vocal", [["rain", 1]]],
  [
    "",
    [
      ["gone", 1],
      ["rain", 4],
      ["new", 0],
    ],
  ],
  ["nothing", []],
])("a search for %s", (text, found) => expect(matching(GROUPS, text).map(({ id, versions }) => [id, versions.length])).toEqual(found));

test("what is about to be deleted is hidden and the others keep their numbers", () => {
  const left = visible(GROUPS, new Set(["v1/covers/1", "v1/covers/5", "v1/songs/rain"]));
  expect(left.map(({ id, song, versions }) => [id, !!song, versions.map((one) => one.number)])).toEqual([
    ["rain", false, [4, 3, 2]],
    ["new", true, []],
  ]);
});

test("versions of the same seconds are compared at the loudness of the first", () => {
  const loud = (cover: number, song: number) => ({ result: { duration: 30, loudness: { cover, song, true_peak: -1 } } }) as Partial<Job>;
  const [a, b] = [cover("a", "rain", "Nova", { song: { start: 3 } }, loud(-10, -12)), cover("b", "rain", "Nova", {}, loud(-14, -12))];
  const [group] = bySong([song("rain", null)], [b, a]);
  expect(inStep(a, group!.versions).map(({ job }) => job.id)).toEqual(["a"]);
  const { wholes, duration } = comparison(a, b, song("rain", null));
  expect(duration).toBe(30);
  expect(wholes.a).toEqual({ addresses: ["/v1/covers/a/audio"], offset: 0, gain: 0 });
  expect(wholes.b).toEqual({ addresses: ["/v1/covers/b/audio"], offset: 0, gain: 4 });
  expect(wholes.original).toEqual({ addresses: ["/v1/songs/rain/audio"], offset: 3, gain: 2 });
});
