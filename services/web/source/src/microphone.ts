/** The microphone: its level, and takes of it as files. */
import { Problem } from "./api";
import { t } from "./i18n/language";

export interface Microphone {
  audio: AudioContext;
  /** The highest sample of the last moment, 0 to 1. */
  level: () => number;
  /** Begin a take. The promise is the file, as soon as `stop` is called or the microphone is gone. */
  record: (name: string) => Promise<File>;
  stop: () => void;
  close: () => void;
}

/** Whether this page may use a microphone at all; why not, if not. */
export function withheld(): Problem | null {
  if (!isSecureContext) return new Problem("insecure", t("microphone.insecure"), t("microphone.insecure.hint"));
  if (!navigator.mediaDevices?.getUserMedia || !("MediaRecorder" in window))
    return new Problem("no-recorder", t("microphone.none"), t("microphone.otherwise"));
  return null;
}

/** What the browser says when it doesn't give a microphone, in words. */
export function refusal(error: unknown): Problem {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError") return new Problem("microphone-denied", t("microphone.denied"), t("microphone.denied.hint"));
  if (name === "NotFoundError") return new Problem("microphone-missing", t("microphone.missing"), t("microphone.missing.hint"));
  if (name === "NotReadableError") return new Problem("microphone-busy", t("microphone.busy"), t("microphone.busy.hint"));
  return new Problem("microphone", t("microphone.unusable"), t("microphone.otherwise"));
}

/** Ask for the microphone; `onLost` is called when it is unplugged or taken away. Throws a `Problem`. */
export async function openMicrophone(onLost: () => void): Promise<Microphone> {
  const why = withheld();
  if (why) throw why;
  // the browser's own clean-up is made for calls and takes a voice's character away
  const wanted = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: wanted }).catch((error: unknown) => {
    throw refusal(error);
  });
  const audio = new AudioContext();
  await audio.resume();
  const analyser = audio.createAnalyser();
  analyser.fftSize = 2048;
  audio.createMediaStreamSource(stream).connect(analyser);
  const wave = new Float32Array(analyser.fftSize);
  let recorder: MediaRecorder | null = null;
  const stop = () => {
    if (recorder?.state === "recording") recorder.stop();
  };
  for (const track of stream.getTracks())
    track.onended = () => {
      stop();
      onLost();
    };
  return {
    audio,
    level: () => {
      analyser.getFloatTimeDomainData(wave);
      return wave.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    },
    record: (name) =>
      new Promise((resolve) => {
        const parts: Blob[] = [];
        const taken = new MediaRecorder(stream, { audioBitsPerSecond: 256_000 });
        recorder = taken;
        taken.ondataavailable = (event) => parts.push(event.data);
        taken.onstop = () => {
          const type = taken.mimeType || "audio/webm";
          resolve(new File(parts, `${name}.${type.includes("mp4") ? "m4a" : "webm"}`, { type }));
        };
        taken.start();
      }),
    stop,
    close: () => {
      for (const track of stream.getTracks()) {
        track.onended = null;
        track.stop();
      }
      stop();
      void audio.close();
    },
  };
}
