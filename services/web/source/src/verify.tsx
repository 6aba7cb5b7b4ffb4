import { useState } from "preact/hooks";
import { upload } from "./api";
import { useTask, useTitle } from "./hooks";
import { Bar, Card, Trouble } from "./parts";
import type { ManifestFound, Verification } from "./schema";

/** Where everybody can drop a file to learn what it says of its origin. It needs no key. */
export function VerifyView() {
  useTitle("Check a file");
  const { busy, problem, run } = useTask();
  const [over, setOver] = useState(false);
  const [sent, setSent] = useState(0);
  const [name, setName] = useState("");
  const [found, setFound] = useState<Verification | null>(null);

  const take = (files: FileList | null | undefined) => {
    const all = [...(files ?? [])];
    const beside = all.length > 1 ? all.find((one) => one.name.toLowerCase().endsWith(".c2pa")) : undefined;
    const file = all.find((one) => one !== beside);
    if (!file || busy) return;
    setName(file.name);
    setFound(null);
    setSent(0);
    run(async () => {
      const form = new FormData();
      form.append("file", file, file.name);
      if (beside) form.append("credentials", beside, beside.name);
      setFound(await upload<Verification>("v1/verify", form, setSent));
    });
  };

  return (
    <>
      <div class="hero">
        <h1>Where is this song from?</h1>
        <p>Drop any sound or video to see what it says of its origin: a watermark, signed credentials, tags. Nothing is kept.</p>
      </div>
      <Card title="File">
        <label
          class={over ? "drop over" : "drop"}
          onDragOver={(event) => {
            event.preventDefault();
            setOver(true);
          }}
          onDragLeave={() => setOver(false)}
          onDrop={(event) => {
            event.preventDefault();
            setOver(false);
            take(event.dataTransfer?.files);
          }}
        >
          <input
            type="file"
            multiple
            accept="audio/*,video/*,.c2pa"
            disabled={busy}
            onChange={(event) => take(event.currentTarget.files)}
          />
          {busy ? (
            <span>
              <strong>
                {sent < 1 ? "Sending" : "Listening to"} {name}
              </strong>
              <Bar label="Upload" fraction={sent} />
            </span>
          ) : (
            <span>
              <strong>Drop a file here, or choose one</strong>
              <small>up to 200 MB; with an Opus file, its .c2pa file, too</small>
            </span>
          )}
        </label>
        <Trouble problem={problem} />
      </Card>
      <div role="status">
        {found && (
          <Card title={name}>
            <p>{found.conclusion}</p>
            <dl class="figures">
              <dt>Watermark</dt>
              <dd>{found.watermark.payload ? `found: work ${found.watermark.payload.id.toString(16).padStart(5, "0")}` : "none found"}</dd>
              <dt>Signed credentials</dt>
              <dd>{credentials(found.c2pa)}</dd>
              {!!found.c2pa.ingredients?.length && (
                <>
                  <dt>Made from, as they say</dt>
                  <dd>{found.c2pa.ingredients.join(", ")}</dd>
                </>
              )}
              <dt>Tags</dt>
              <dd>{found.tags.comment || (found.tags.made_by_understudy ? "made with Understudy" : "say nothing of AI")}</dd>
            </dl>
          </Card>
        )}
      </div>
    </>
  );
}

function credentials(found: ManifestFound): string {
  if (!found.present) return "none";
  if (!found.valid) return "there, but they prove nothing";
  const signer = found.trusted ? "by this server" : found.revoked ? "with a key that was revoked" : "by a signer that is not known here";
  return `fit the file; signed ${signer}`;
}
