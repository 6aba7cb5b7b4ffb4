/** Covers in rows, below the song that they are of or the voice that sings them. */
import { useEffect, useState } from "preact/hooks";
import { Artwork } from "./artwork";
import { isActive, useTask } from "./hooks";
import { joined, moment, percent, t } from "./i18n/language";
import { DOWNLOAD, Icon, PAUSE, PLAY, SHARE } from "./icons";
import { Delete, useTelling } from "./notes";
import { clock } from "./parts";
import { share } from "./share";
import { soundAlone } from "./sounding";
import { bySinger, type SongGroup, soundsOf, type Version } from "./versions";

/** A file that can be heard; without a type it is tried. */
interface Sound {
  href: string;
  type?: string;
}

/** What a list plays, one sound at a time: the address, and what plays or stops the first of its formats that the
 * browser knows. */
export interface Playing {
  heard: string | null;
  toggle: (formats: readonly Sound[]) => void;
}

export function usePlaying(): Playing {
  const [heard, setHeard] = useState<string | null>(null);
  const [sound] = useState(() => new Audio());
  useEffect(() => () => sound.pause(), [sound]);
  const toggle = (formats: readonly Sound[]) => {
    const address = formats[0]!.href;
    if (heard === address) return sound.pause();
    sound.onpause = sound.onended = sound.onerror = () => setHeard((now) => (now === address ? null : now));
    sound.src = (formats.find(({ type }) => !type || sound.canPlayType(type)) ?? formats[0]!).href;
    soundAlone(sound);
    setHeard(address);
    sound.play().catch(() => setHeard((now) => (now === address ? null : now)));
  };
  return { heard, toggle };
}

export function PlayButton({ playing, sounds, name }: { playing: Playing; sounds: readonly Sound[]; name: string }) {
  const now = !!sounds.length && playing.heard === sounds[0]!.href;
  return (
    <button
      class="icon small-play"
      disabled={!sounds.length}
      aria-label={t(now ? "pause.it" : "play.it", { name })}
      onClick={() => playing.toggle(sounds)}
    >
      <Icon path={now ? PAUSE : PLAY} />
    </button>
  );
}

export function ShareButton({ name, hash }: { name: string; hash: string }) {
  const { say } = useTelling();
  const { run } = useTask();
  const press = () => run(async () => void ((await share(name, hash)) && say(t("share.copied"))));
  return (
    <button class="icon" aria-label={t("share.it", { name })} title={t("share")} onClick={press}>
      <Icon path={SHARE} />
    </button>
  );
}

interface RowProps {
  version: Version;
  title: string; // of the song
  heading: string; // what the row is called where it stands
  playing: Playing;
}

function CoverRow({ version, title, heading, playing }: RowProps) {
  const { job, number, changes } = version;
  const name = t("cover.name", { title, version: `v${number}`, singers: joined(job.singers) });
  const state = [t(`state.${job.state}`), job.state === "running" && percent(job.progress.fraction)].filter(Boolean).join(" · ");
  return (
    <li>
      <PlayButton playing={playing} sounds={soundsOf(job)} name={name} />
      <a href={`#/covers/${job.id}`}>
        <strong>{heading}</strong>
        <small>{[changes, clock(job.result?.duration), moment(job.created)].filter(Boolean).join(" · ")}</small>
      </a>
      <div class="deeds">
        {job.state !== "done" && <span class={`state ${job.state}`}>{state}</span>}
        {job.audio && (
          <>
            <a class="icon" href={job.audio.href} download={job.audio.name} aria-label={t("download.it", { name })} title={t("download")}>
              <Icon path={DOWNLOAD} />
            </a>
            <ShareButton name={name} hash={`#/covers/${job.id}`} />
          </>
        )}
        {!isActive(job) && <Delete path={`v1/covers/${job.id}`} name={name} />}
      </div>
    </li>
  );
}

/** The versions of the song called `title`. */
export function Versions({ versions, title, playing }: { versions: readonly Version[]; title: string; playing: Playing }) {
  return (
    <ul class="rows">
      {versions.map((version) => (
        <CoverRow
          key={version.job.id}
          version={version}
          title={title}
          heading={`v${version.number} · ${joined(version.job.singers)}`}
          playing={playing}
        />
      ))}
    </ul>
  );
}

/** Songs, each with its versions. */
export function SongGroups({ groups, playing }: { groups: readonly SongGroup[]; playing: Playing }) {
  return groups.map(({ id, title, song, versions }) => {
    const count = versions.length;
    const about = [song?.artist, clock(song?.duration), count ? t("covers.count", { count }) : t("covers.none")];
    const original = t("original.name", { title });
    return (
      <div class="group" key={id} role="group" aria-label={title}>
        <div class="head">
          <a href={`#/songs/${id}`}>
            <Artwork song={song} title={title} size={56} />
            <span>
              <strong>{title}</strong>
              <small>{about.filter(Boolean).join(" · ")}</small>
            </span>
          </a>
          <div class="deeds">
            {song && <PlayButton playing={playing} sounds={[{ href: song.audio }]} name={original} />}
            {song && (
              <a
                class="icon"
                href={song.audio}
                download={song.name}
                aria-label={t("download.it", { name: original })}
                title={t("download")}
              >
                <Icon path={DOWNLOAD} />
              </a>
            )}
            <ShareButton name={title} hash={`#/songs/${id}`} />
            {song && <Delete path={`v1/songs/${id}`} name={title} />}
          </div>
        </div>
        {count > 0 && <Versions versions={versions} title={title} playing={playing} />}
      </div>
    );
  });
}

/** Singers, each with what they sing. */
export function SingerGroups({ groups, playing }: { groups: readonly SongGroup[]; playing: Playing }) {
  return bySinger(groups).map(({ singers, sung }) => (
    <div class="group" key={singers} role="group" aria-label={singers}>
      <h3>{singers}</h3>
      <ul class="rows">
        {sung.map(({ group, version }) => (
          <CoverRow
            key={version.job.id}
            version={version}
            title={group.title}
            heading={`${group.title} · v${version.number}`}
            playing={playing}
          />
        ))}
      </ul>
    </div>
  ));
}
