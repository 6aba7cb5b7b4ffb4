// node cover.mjs ADDRESS SONG FOLDER: makes a cover, and prints what came of it as JSON
import { ApiError, JobFailed, Understudy, verifyWebhook } from "understudy-client";
import { open, save } from "understudy-client/node";

const [address, song, folder] = process.argv.slice(2);
const server = new Understudy(address);
const lost = new Set(["events", "audio"]); // whose first connection breaks after its first block
const online = globalThis.fetch;
const ranges = [];
const offsets = [];
globalThis.fetch = async (url, init) => {
  if (init?.method === "PATCH") {
    offsets.push(init.headers["Upload-Offset"]);
    if (offsets.length === 1) {
      await online(url, { ...init, body: init.body.slice(0, 1000) }).catch(() => undefined);
      throw new TypeError("lost");
    }
  }
  const answer = await online(url, init);
  if (init?.headers?.Range) ranges.push([init.headers.Range, init.headers["If-Range"]]);
  if (!lost.delete(String(url).split("/").at(-1))) return answer;
  const reader = answer.body.getReader();
  const first = await reader.read();
  const body = new ReadableStream({
    start: (to) => to.enqueue(first.value),
    async pull(to) {
      await reader.cancel();
      to.error(new TypeError("lost"));
    },
  });
  return new Response(body, { status: answer.status, headers: answer.headers });
};

const numbers = [];
const uploaded = await server.uploadSong(await open(song));
const made = await server.makeCover(uploaded, "nova", { remix: { vocal_gain: 2 } }, { preset: "embedded" });
const cover = await server.wait(made, (event) => numbers.push(event.number));
const saved = await save(server, cover.audio, folder);
const { data } = await server.api.GET("/v1/covers", { params: { query: { state: "done", limit: 1 } } });
const refused = await server.api.GET("/v1/voices/{id}", { params: { path: { id: "nobody" } } }).catch((error) => error);
const late = await server.makeCover(uploaded, "nova", { song: { start: 60 } });
const failed = await server.wait(late).catch((error) => error);
const signed = JSON.parse(process.env.SIGNED);
console.log(
  JSON.stringify({
    id: cover.id,
    song: uploaded.audio,
    gain: cover.settings.remix.vocal_gain,
    numbers,
    saved,
    ranges,
    offsets,
    newest: data.items[0].id,
    refused: refused instanceof ApiError && [refused.status, refused.code],
    failed: failed instanceof JobFailed && failed.job.state,
    told: verifyWebhook(signed.secret, signed.headers, signed.body).id,
  }),
);
