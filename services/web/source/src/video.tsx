/** A video of a cover, for phones: the server makes it from the same sound, as a version of the cover. */
import { useState } from "preact/hooks";
import { again } from "./again";
import { post } from "./api";
import { isActive, useJob, useTask } from "./hooks";
import { explained, t } from "./i18n/language";
import { Bar, Download, Trouble } from "./parts";
import type { Job } from "./schema";
import { leftWords } from "./underway";

export function Video({ job }: { job: Job }) {
  const [making, setMaking] = useState<string | null>(null);
  const { busy, problem, run } = useTask();
  const make = () =>
    run(async () => {
      const output = { ...job.settings.output, video: "portrait" as const };
      setMaking((await post<Job>("v1/covers", { ...again(job, { ...job.settings, output }), preview: false })).id);
    });
  if (job.video) return <Download file={job.video} words={t("video")} />;
  return (
    <div class="video">
      {making ? (
        <Making id={making} onAgain={() => setMaking(null)} />
      ) : (
        <button disabled={busy} onClick={make}>
          {t("video.make")}
        </button>
      )}
      <small>{t("video.about")}</small>
      <Trouble problem={problem} />
    </div>
  );
}

function Making({ id, onAgain }: { id: string; onAgain: () => void }) {
  const { job, problem } = useJob("covers", id);
  if (job?.video) return <Download file={job.video} words={t("video")} />;
  if (job && !isActive(job))
    return (
      <>
        <p role="alert">{job.error ? explained(job.error) : t("ended.stopped.about")}</p>
        <button onClick={onAgain}>{t("try-again")}</button>
      </>
    );
  return (
    <>
      <span role="status">
        {t("video.making")} {leftWords(job?.seconds_left)}
      </span>
      <Bar label={t("video.making")} fraction={job?.progress.fraction ?? 0} />
      <Trouble problem={problem} />
    </>
  );
}
