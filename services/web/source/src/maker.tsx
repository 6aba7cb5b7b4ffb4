/** Making a cover: a song, a voice, go. */
import { useEffect, useRef, useState } from "preact/hooks";
import { post, type Settings, upload } from "./api";
import { useTask } from "./hooks";
import { number, t } from "./i18n/language";
import { later } from "./later";
import { Bar, Card, Choice, clock, Trouble } from "./parts";
import type { Choices, Job, Song, Voice } from "./schema";
import { titleOf } from "./versions";
import { voiceWords } from "./voices";

const NewVoice = later(() => import("./new-voice").then((found) => found.NewVoice));

/** What the next cover is to be: kept while other pages are looked at. `song`, `voice`: ids. */
export interface Draft {
  song: string | null;
  voice: string | null;
  preset: string;
  settings: Settings;
}

interface Props {
  songs: readonly Song[];
  voices: readonly Voice[];
  choices: Choices;
  draft: Draft;
  onDraft: (change: (before: Draft) => Draft) => void;
  onChange: () => Promise<void>;
}

export function Maker({ songs, voices, choices, draft, onDraft, onChange }: Props) {
  const [adding, setAdding] = useState(false);
  const { busy, problem, run } = useTask();
  const { preset, settings } = draft;
  const choose = (change: Partial<Draft>) => onDraft((before) => ({ ...before, ...change }));

  const song = songs.find((one) => one.id === draft.song);
  const usable = voices.filter((one) => one.state !== "failed" && !one.unusable);
  const listed = voices.filter((one) => one.state !== "failed");
  const chosen = usable.find((one) => one.id === draft.voice) ?? (usable.length === 1 ? usable[0] : undefined);
  const presets = choices.presets.filter((one) => !one.unusable);
  const missing = !song ? t("maker.no-song") : !chosen ? t("maker.no-voice") : chosen.state === "making" ? t("maker.voice-making") : "";

  const make = () =>
    run(async () => {
      const body = {
        song: song!.id,
        voice: chosen!.id,
        ...(preset && { preset }),
        preview: true,
        settings: { ...settings, output: { ...settings.output, keep_stems: true } },
      };
      const job = await post<Job>("v1/covers", body);
      location.hash = `/covers/${job.id}`;
    });

  return (
    <div class="maker">
      <SongDrop
        song={song}
        songs={songs}
        onSong={(song) => choose({ song })}
        onSent={async (sent) => {
          await onChange();
          choose({ song: sent.id });
        }}
      />
      <Card title={t("voice")} step={2}>
        <div role="radiogroup" aria-label={t("voice")} class="voices">
          {listed.map((one) => (
            <label class="voice" key={one.id}>
              <input
                type="radio"
                name="voice"
                disabled={!!one.unusable}
                checked={chosen?.id === one.id}
                onChange={() => choose({ voice: one.id })}
              />
              <span>
                <strong>{one.name}</strong>
                <small>{voiceWords(one)}</small>
              </span>
            </label>
          ))}
          {!listed.length && !adding && <p class="soft">{t("maker.no-voices")}</p>}
        </div>
        {adding ? (
          <NewVoice
            onDone={async (made) => {
              await onChange();
              choose({ voice: made.id });
            }}
            onClose={() => setAdding(false)}
          />
        ) : (
          <div class="row">
            <button onClick={() => setAdding(true)}>{t("maker.new-voice")}</button>
            {chosen?.state === "ready" && chosen.engines.includes("instant") && (
              <a class="button" href={`#/voices/${chosen.id}`}>
                {t("maker.train")}
              </a>
            )}
          </div>
        )}
      </Card>
      <Card title={t("cover")} step={3}>
        <details>
          <summary>{t("settings")}</summary>
          <SettingsForm settings={settings} onChange={(settings) => choose({ settings })} formats={choices.formats} />
          {presets.length > 1 && (
            <Choice
              label={t("maker.preset")}
              value={preset}
              options={[["", t("maker.preset.own")], ...presets.map((one): [string, string] => [one.name, one.name])]}
              onChange={(preset) => choose({ preset })}
            />
          )}
        </details>
        <div class="row">
          <button class="primary" disabled={busy || !!missing} onClick={make}>
            {t("maker.make")}
          </button>
          <span class="soft" aria-live="polite">
            {missing}
          </span>
        </div>
        <Trouble problem={problem} />
      </Card>
    </div>
  );
}

interface SongProps {
  song: Song | undefined;
  songs: readonly Song[];
  onSong: (id: string) => void;
  onSent: (song: Song) => Promise<void>;
}

/** Takes songs that are dropped anywhere on the page, one after the other, or one that was sent before. */
function SongDrop({ song, songs, onSong, onSent }: SongProps) {
  const { busy, problem, run } = useTask();
  const [over, setOver] = useState(false);
  const [sent, setSent] = useState(0);
  const waiting = useRef<File[]>([]);

  const take = (files: Iterable<File>) => {
    waiting.current.push(...files);
    if (waiting.current.length && !busy) run(send);
  };
  const send = async () => {
    let failure: unknown = null;
    while (waiting.current.length) {
      setSent(0);
      const form = new FormData();
      form.append("file", waiting.current[0]!);
      await upload<Song>("v1/songs", form, setSent)
        .then(onSent)
        .catch((error: unknown) => (failure = error));
      waiting.current.shift();
    }
    if (failure) throw failure;
  };

  const taking = useRef(take);
  taking.current = take;
  useEffect(() => {
    const drag = (event: DragEvent) => {
      event.preventDefault();
      setOver(event.type === "dragover");
    };
    const drop = (event: DragEvent) => {
      drag(event);
      taking.current(event.dataTransfer?.files ?? []);
    };
    const listeners = { dragover: drag, dragleave: drag, drop };
    for (const [type, hear] of Object.entries(listeners)) addEventListener(type as "drop", hear);
    return () => {
      for (const [type, hear] of Object.entries(listeners)) removeEventListener(type as "drop", hear);
    };
  }, []);

  const more = waiting.current.length - 1;
  return (
    <Card title={t("song")} step={1}>
      <label class={over ? "drop over" : "drop"}>
        <input
          type="file"
          multiple
          accept="audio/*,video/*"
          onChange={(event) => {
            take([...(event.currentTarget.files ?? [])]);
            event.currentTarget.value = ""; // the same file can be chosen again
          }}
        />
        {busy ? (
          <span>
            <strong>{t(sent < 1 ? "sending.it" : "maker.looking", { name: waiting.current[0]?.name ?? "" })}</strong>
            <Bar label={t("upload")} fraction={sent} />
            <small>{more > 0 && t("maker.more", { count: more })}</small>
          </span>
        ) : song ? (
          <span>
            <strong>{titleOf(song)}</strong>
            <small>{[song.artist, clock(song.duration), t("maker.replace")].filter(Boolean).join(" · ")}</small>
          </span>
        ) : (
          <span>
            <strong>{t("maker.drop")}</strong>
            <small>{t("maker.formats")}</small>
          </span>
        )}
      </label>
      {songs.length > 0 && (
        <Choice
          label={t("maker.before")}
          value={song?.id ?? ""}
          options={[
            ...(song ? [] : [["", t("choose")] as const]),
            ...songs.map((one) => [one.id, [titleOf(one), one.artist].filter(Boolean).join(" · ")] as const),
          ]}
          onChange={(id) => id && onSong(id)}
        />
      )}
      <Trouble problem={problem} />
    </Card>
  );
}

interface SettingsProps {
  settings: Settings;
  onChange: (settings: Settings) => void;
  formats: readonly string[];
}

/** The settings that one changes by ear. */
export function SettingsForm({ settings, onChange, formats }: SettingsProps) {
  return (
    <div class="settings">
      <Choice
        label={t("settings.octave")}
        value={String(settings.transpose ?? "auto")}
        options={[
          ["auto", t("settings.octave.auto")],
          ["12", t("settings.octave.up")],
          ["0", t("settings.octave.original")],
          ["-12", t("settings.octave.down")],
        ]}
        onChange={(text) => onChange({ ...settings, transpose: text === "auto" ? "auto" : Number(text) })}
      />
      <Slider
        label={t("settings.key")}
        words={semitones}
        min={-12}
        max={12}
        step={1}
        value={settings.key ?? 0}
        onChange={(key) => onChange({ ...settings, key })}
      />
      <Slider
        label={t("settings.likeness")}
        min={0}
        max={1}
        step={0.05}
        value={settings.conversion?.index_rate ?? 0.5}
        onChange={(index_rate) => onChange({ ...settings, conversion: { ...settings.conversion, index_rate } })}
        hint={t("settings.likeness.hint")}
      />
      <Slider
        label={t("settings.size")}
        words={semitones}
        min={-4}
        max={4}
        step={0.5}
        value={settings.conversion?.formant_shift ?? 0}
        onChange={(formant_shift) => onChange({ ...settings, conversion: { ...settings.conversion, formant_shift } })}
        hint={t("settings.size.hint")}
      />
      <Choice
        label={t("settings.format")}
        value={settings.output?.format ?? "flac"}
        options={formats.map((format) => [format, format])}
        onChange={(format) => onChange({ ...settings, output: { ...settings.output, format } })}
      />
    </div>
  );
}

export function semitones(count: number): string {
  return t("semitones", { count });
}

interface SliderProps {
  label: string;
  min: number;
  max: number;
  step: number;
  value: number;
  onChange: (value: number) => void;
  words?: (value: number) => string; // by default the number
  hint?: string;
}

export function Slider({ label, min, max, step, value, onChange, words = number, hint }: SliderProps) {
  return (
    <label>
      <span class="spread">
        {label}
        <span class="figure">{words(value)}</span>
      </span>
      <input
        type="range"
        aria-label={label}
        {...{ min, max, step, value }}
        onInput={(event) => onChange(Number(event.currentTarget.value))}
      />
      {hint && <small>{hint}</small>}
    </label>
  );
}
