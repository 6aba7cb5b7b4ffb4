import { useState } from "preact/hooks";
import { upload } from "./api";
import { useTask, useTitle } from "./hooks";
import { t } from "./i18n/language";
import { Bar, Card, Trouble } from "./parts";
import type { ManifestFound, Verification } from "./schema";

/** Where everybody can drop a file to learn what it says of its origin. It needs no key. */
export function VerifyView() {
  useTitle(t("app.check"));
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
        <h1>{t("verify.title")}</h1>
        <p>{t("verify.about")}</p>
      </div>
      <Card title={t("verify.file")}>
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
              <strong>{t(sent < 1 ? "sending.it" : "verify.listening", { name })}</strong>
              <Bar label={t("upload")} fraction={sent} />
            </span>
          ) : (
            <span>
              <strong>{t("verify.drop")}</strong>
              <small>{t("verify.size")}</small>
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
              <dt>{t("verify.watermark")}</dt>
              <dd>
                {found.watermark.payload
                  ? t("verify.watermark.found", { work: found.watermark.payload.id.toString(16).padStart(5, "0") })
                  : t("verify.watermark.none")}
              </dd>
              <dt>{t("verify.credentials")}</dt>
              <dd>{credentials(found.c2pa)}</dd>
              {!!found.c2pa.ingredients?.length && (
                <>
                  <dt>{t("verify.ingredients")}</dt>
                  <dd>{found.c2pa.ingredients.join(", ")}</dd>
                </>
              )}
              <dt>{t("verify.tags")}</dt>
              <dd>{found.tags.comment || t(found.tags.made_by_understudy ? "verify.tags.ours" : "verify.tags.none")}</dd>
            </dl>
          </Card>
        )}
      </div>
    </>
  );
}

function credentials(found: ManifestFound): string {
  if (!found.present) return t("verify.none");
  if (!found.valid) return t("verify.invalid");
  return t(found.trusted ? "verify.trusted" : found.revoked ? "verify.revoked" : "verify.unknown");
}
