/** Making a cover again with other settings. */
import type { Settings } from "./api";
import type { FoundAction, Job } from "./schema";

/** A request for the same song and voice. What the settings leave as they were isn't made again. */
export function again(job: Job, settings: Settings, preset?: string) {
  return { ...job.inputs, voice: job.voices, engine: job.engine, settings, preview: true, ...(preset && { preset }) };
}

/** The request that follows an action of the verdict: `settings` by their full names, such as `remix.vocal_gain`. With a
 * `preset`, the song is separated as that says. */
export function followed(job: Job, { settings = {} }: Partial<FoundAction>) {
  const changed: Record<string, unknown> = structuredClone(job.settings);
  let preset: string | undefined;
  for (const [name, value] of Object.entries(settings)) {
    const [group, field] = name.split(".") as [string, string?];
    if (group === "preset") {
      preset = String(value);
      delete changed.separation;
    } else if (field) changed[group] = { ...(changed[group] as object), [field]: value };
    else changed[group] = value;
  }
  return again(job, changed as Settings, preset);
}
