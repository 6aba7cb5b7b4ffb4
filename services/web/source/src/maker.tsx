/** Making a cover: a song, a voice, go. */
import { useEffect, useState } from "preact/hooks";
import { ask, post, upload, type Choices, type Job, type Settings, type Song, type Voice } from "./api";
import { useTask } from "./hooks";
import { Bar, Card, clock, Trouble } from "./parts";
import { NewVoice } from "./new-voice";

interface Props {
  voices: Voice[] | null;
  onVoices: (change: (before: Voice[] | null) => Voice[]) => void;
}

export function Maker({ voices, onVoices }: Props) {
  const [song, setSong] = useState<Song | null>(null);
  const [voice, setVoice] = useState<string | null>(null);
  const [adding, setAdding] = useState(false);
  const [preset, setPreset] = useState("");
  const [settings, setSettings] = useState<Settings>({});
  const [choices, setChoices] = useState<Choices | null>(null);
  const { busy, problem, run } = useTask();

  useEffect(() => void ask<Choices>("v1/choices").then(setChoices, () => undefined), []);
  const ready = (voices ?? []).filter((one) => one.state !== "failed");
  const chosen = ready.find((one) => one.id === voice) ?? (ready.length === 1 ? ready[0] : undefined);
  const missing = !song ? "Add a song first." : !chosen ? "Choose a voice." : chosen.state === "making" ? "The voice is still being made." : "";

  const make = () =>
    run(async () => {
      const body = { song: song!.id, voice: chosen!.id, ...(preset && { preset }), settings: { ...settings, output: { ...settings.output, keep_stems: true } } };
      const job = await post<Job>("v1/covers", body);
      location.hash = `/covers/${job.id}`;
    });

  return (
    <div class="maker">
      <SongDrop song={song} onSong={setSong} />
      <Card title="Voice" step={2}>
        {voices === null ? (
          <p class="soft">Looking for voices …</p>
        ) : (
          <div role="radiogroup" aria-label="Voice" class="voices">
            {ready.map((one) => (
              <label class="voice" key={one.id}>
                <input type="radio" name="voice" checked={chosen?.id === one.id} onChange={() => setVoice(one.id)} />
                <span>
                  <strong>{one.name}</strong>
                  <small>{one.state === "making" ? "being made …" : one.engine === "rvc" ? "trained model" : one.seconds ? `${Math.round(one.seconds)} s of recordings` : one.engine}</small>
                </span>
              </label>
            ))}
            {!ready.length && !adding && <p class="soft">No voices yet: make one from half a minute of talking or singing.</p>}
          </div>
        )}
        {adding ? (
          <NewVoice
            onDone={(made) => {
              onVoices((before) => [made, ...(before ?? []).filter((one) => one.id !== made.id)]);
              setVoice(made.id);
            }}
            onClose={() => setAdding(false)}
          />
        ) : (
          <div class="row">
            <button onClick={() => setAdding(true)}>New voice …</button>
            {chosen?.state === "ready" && chosen.engines.includes("instant") && (
              <a class="button" href={`#/voices/${chosen.id}`}>
                Train this voice …
              </a>
            )}
          </div>
        )}
      </Card>
      <Card title="Cover" step={3}>
        <details>
          <summary>Settings</summary>
          <SettingsForm settings={settings} onChange={setSettings} formats={choices?.formats ?? ["flac"]} />
          {(choices?.presets.length ?? 0) > 1 && (
            <label>
              Preset
              <select value={preset} onChange={(event) => setPreset(event.currentTarget.value)}>
                <option value="">the server's own</option>
                {choices!.presets.map((one) => (
                  <option key={one.name}>{one.name}</option>
                ))}
              </select>
            </label>
          )}
        </details>
        <div class="row">
          <button class="primary" disabled={busy || !!missing} onClick={make}>
            Make the cover
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

function SongDrop({ song, onSong }: { song: Song | null; onSong: (song: Song | null) => void }) {
  const { busy, problem, run } = useTask();
  const [over, setOver] = useState(false);
  const [sent, setSent] = useState(0);
  const [name, setName] = useState("");

  const take = (file: File | undefined) => {
    if (!file) return;
    setSent(0);
    setName(file.name);
    onSong(null);
    run(async () => {
      const form = new FormData();
      form.append("file", file);
      onSong(await upload<Song>("v1/songs", form, setSent));
    });
  };

  return (
    <Card title="Song" step={1}>
      <label
        class={over ? "drop over" : "drop"}
        onDragOver={(event) => (event.preventDefault(), setOver(true))}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          event.preventDefault();
          setOver(false);
          take(event.dataTransfer?.files[0]);
        }}
      >
        <input type="file" accept="audio/*,video/*" disabled={busy} onChange={(event) => take(event.currentTarget.files?.[0])} />
        {busy ? (
          <span>
            <strong>{sent < 1 ? "Sending" : "Looking at"} {name}</strong>
            <Bar label="Upload" fraction={sent} />
          </span>
        ) : song ? (
          <span>
            <strong>{song.title ?? song.name}</strong>
            <small>{[song.artist, clock(song.duration), "drop another to replace it"].filter(Boolean).join(" · ")}</small>
          </span>
        ) : (
          <span>
            <strong>Drop a song here, or choose a file</strong>
            <small>mp3, wav, flac, m4a, opus or a video</small>
          </span>
        )}
      </label>
      <Trouble problem={problem} />
    </Card>
  );
}

interface SettingsProps {
  settings: Settings;
  onChange: (settings: Settings) => void;
  formats: string[];
}

/** The settings that one changes by ear. */
export function SettingsForm({ settings, onChange, formats }: SettingsProps) {
  const transpose = settings.transpose ?? "auto";
  return (
    <div class="settings">
      <label>
        Octave of the voice
        <select value={String(transpose)} onChange={(event) => {
          const text = event.currentTarget.value;
          onChange({ ...settings, transpose: text === "auto" ? "auto" : Number(text) });
        }}>
          <option value="auto">as fits the voice</option>
          <option value="12">one higher</option>
          <option value="0">the original's</option>
          <option value="-12">one lower</option>
        </select>
      </label>
      <Slider label="Key of the song" unit="semitones" min={-12} max={12} step={1} value={settings.key ?? 0} onChange={(key) => onChange({ ...settings, key })} />
      <Slider
        label="Likeness to the recordings"
        min={0}
        max={1}
        step={0.05}
        value={settings.conversion?.index_rate ?? 0.5}
        onChange={(index_rate) => onChange({ ...settings, conversion: { ...settings.conversion, index_rate } })}
        hint="less keeps words clearer, more sounds more like the voice"
      />
      <Slider
        label="Size of the singer"
        unit="semitones"
        min={-4}
        max={4}
        step={0.5}
        value={settings.conversion?.formant_shift ?? 0}
        onChange={(formant_shift) => onChange({ ...settings, conversion: { ...settings.conversion, formant_shift } })}
        hint="lower is bigger, higher is smaller"
      />
      <label>
        Format
        <select value={settings.output?.format ?? "flac"} onChange={(event) => onChange({ ...settings, output: { ...settings.output, format: event.currentTarget.value } })}>
          {formats.map((format) => (
            <option key={format}>{format}</option>
          ))}
        </select>
      </label>
    </div>
  );
}

interface SliderProps {
  label: string;
  min: number;
  max: number;
  step: number;
  value: number;
  onChange: (value: number) => void;
  unit?: string;
  hint?: string;
}

export function Slider({ label, min, max, step, value, onChange, unit = "", hint }: SliderProps) {
  return (
    <label>
      <span class="spread">
        {label}
        <span class="figure">
          {Number(value.toFixed(2))} {unit}
        </span>
      </span>
      <input type="range" aria-label={label} {...{ min, max, step, value }} onInput={(event) => onChange(Number(event.currentTarget.value))} />
      {hint && <small>{hint}</small>}
    </label>
  );
}
