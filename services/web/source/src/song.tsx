/** A song's home: what it is, its versions, and what sets them apart to the ear. */
import { useEffect, useRef } from "preact/hooks";
import { patch } from "./api";
import { Artwork } from "./artwork";
import { Compare } from "./compare";
import { ShareButton, usePlaying, Versions } from "./covers";
import { useTitle } from "./hooks";
import { t } from "./i18n/language";
import { later } from "./later";
import { Delete } from "./notes";
import { Card, clock } from "./parts";
import { Renaming } from "./rename";
import type { Job } from "./schema";
import type { SongGroup } from "./versions";

const Apart = later(() => import("./separation").then((found) => found.Apart));

interface Props {
  group: SongGroup | undefined;
  separations: readonly Job[]; // of all songs
  onCover: (song: string) => void;
  onChange: () => Promise<void>;
}

export function SongView({ group, separations, onCover, onChange }: Props) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus({ preventScroll: true }), []);
  useTitle(group?.title ?? "");
  const playing = usePlaying();
  if (!group)
    return (
      <article>
        <h1 ref={heading} tabIndex={-1}>
          {t("song.gone")}
        </h1>
        <p>
          {t("song.gone.why")} <a href="#/library">{t("song.gone.library")}</a>
        </p>
      </article>
    );
  const { id, title, song, versions } = group;
  const done = versions.filter(({ job }) => job.audio);
  const about = [song?.artist, clock(song?.duration), song && song.name !== title ? song.name : "", song ? "" : t("song.deleted")];
  const words = (
    <div class="words">
      <h1 ref={heading} tabIndex={-1}>
        {title}
      </h1>
      <p class="soft">{about.filter(Boolean).join(" · ")}</p>
    </div>
  );
  return (
    <article class="song">
      <header class="head">
        <Artwork song={song} title={title} size={128} />
        <div class="about">
          <div class="row">
            {song ? (
              <Renaming name={title} longest={400} onRename={(title) => patch(`v1/songs/${id}`, { title }).then(onChange)}>
                {words}
              </Renaming>
            ) : (
              words
            )}
          </div>
          <div class="row">
            {song && (
              <button class="primary" onClick={() => onCover(id)}>
                {t("song.cover")}
              </button>
            )}
            <ShareButton name={title} hash={`#/songs/${id}`} />
            {song && <Delete path={`v1/songs/${id}`} name={title} />}
          </div>
        </div>
      </header>
      {done.length > 0 && (
        <Card title={t("listen")}>
          <Compare song={song} versions={done} />
        </Card>
      )}
      <Card title={t("song.versions")}>
        {!versions.length && <p class="soft">{t("song.none")}</p>}
        <Versions versions={versions} title={title} playing={playing} />
      </Card>
      {song && (
        <Card title={t("apart.title")}>
          <Apart song={song} separations={separations.filter(({ inputs }) => inputs.song === id)} />
        </Card>
      )}
    </article>
  );
}
