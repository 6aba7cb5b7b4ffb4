/** Files, for Node: `open` reads one to upload, `save` writes a result. */
import { openAsBlob } from "node:fs";
import { open as openFile, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { pause, type ResultFile, type Understudy } from "./index.js";

const TRIES = 4;

/** A file that is read while it is sent. */
export async function open(path: string): Promise<File> {
  return new File([await openAsBlob(path)], basename(path));
}

/** Save a file of a result, `cover.audio` for example, as `path`, or under its own name in the folder `path`. A broken
 * download goes on where it stopped; what is at `path` is whole. */
export async function save(server: Understudy, file: ResultFile, path: string): Promise<string> {
  const folder = await stat(path).then((found) => found.isDirectory(), () => false);
  const target = folder ? join(path, basename(file.name)) : path;
  const part = join(dirname(target), `.${basename(target)}.${crypto.randomUUID().slice(0, 8)}`);
  const saved = await openFile(part, "wx");
  try {
    for (let size = 0, tag = "", failures = 0; ; ) {
      try {
        const answer = await server.download(file, size ? { Range: `bytes=${size}-`, "If-Range": tag } : {});
        tag = answer.headers.get("ETag") ?? "";
        if (answer.status !== 206) size = 0;
        for await (const block of answer.body as unknown as AsyncIterable<Uint8Array>) {
          await saved.write(block, 0, block.length, size);
          size += block.length;
        }
        await saved.truncate(size);
        await saved.close();
        await rename(part, target);
        return target;
      } catch (error) {
        if (++failures === TRIES) throw error;
        await pause(error, failures);
      }
    }
  } finally {
    await saved.close().catch(() => undefined);
    await rm(part, { force: true });
  }
}
