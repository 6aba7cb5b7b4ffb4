/** Covers in rows, below the song that they are of or the voice that sings them. */
import { useEffect, useState } from "preact/hooks";
import { Artwork } from "./artwork";
import { isActive, useTask } from "./hooks";
import { DOWNLOAD, Icon, PAUSE, PLAY, SHARE } from "./icons";
import { Delete, useTelling } from "./notes";
import { clock, joined } from "./parts";
import type { Job } from "./schema";
import { share } from "./share";
import { soundAlone } from "./sounding";
import { bySinger, type SongGroup, soundsOf, type Version } from "./versions";

const WORDS: Record<Job["state"], string> = {
  queued: "waiting",
  running: "being made",
  done: "done",
  failed: "failed",
  cancelled: "stopped",
  expired: "expired",
};

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
      aria-label={`${now ? "Pause" : "Play"} ${name}`}
      onClick={() => playing.toggle(sounds)}
    >
      <Icon path={now ? PAUSE : PLAY} />
    </button>
  );
}

export function ShareButton({ name, hash }: { name: string; hash: string }) {
  const { say } = useTelling();
  const { run } = useTask();
  const press = () => run(async () => void ((await share(name, hash)) && say("The address is copied.")));
  return (
    <button class="icon" aria-label={`Share ${name}`} title="Share" onClick={press}>
      <Icon path={SHARE} />
    </button>
  );
}

function moment(time: string): string {
  return new Date(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

interface RowProps {
  version: Version;
  title: string; // of the song
  heading: string; // what the row is called where it stands
  playing: Playing;
}

export function CoverRow({ version, title, heading, playing }: RowProps) {
  const { job, number, changes } = version;
  const name = `${title}, v${number} by ${joined(job.singers)}`;
  const state = WORDS[job.state] + (job.state === "running" ? `, ${Math.round(100 * job.progress.fraction)} %` : "");
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
            <a class="icon" href={job.audio.href} download={job.audio.name} aria-label={`Download ${name}`} title="Download">
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

/** Songs, each with its versions. */
export function SongGroups({ groups, playing }: { groups: readonly SongGroup[]; playing: Playing }) {
  return groups.map(({ id, title, song, versions }) => {
    const count = versions.length;
    const about = [song?.artist, clock(song?.duration), count ? `${count} ${count === 1 ? "cover" : "covers"}` : "no covers yet"];
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
            {song && <PlayButton playing={playing} sounds={[{ href: song.audio }]} name={`the original of ${title}`} />}
            {song && (
              <a class="icon" href={song.audio} download={song.name} aria-label={`Download the original of ${title}`} title="Download">
                <Icon path={DOWNLOAD} />
              </a>
            )}
            <ShareButton name={title} hash={`#/songs/${id}`} />
            {song && <Delete path={`v1/songs/${id}`} name={title} />}
          </div>
        </div>
        {count > 0 && (
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
        )}
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
