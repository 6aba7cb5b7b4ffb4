/** The language of the page: which one, its texts, and numbers, dates and lists as it writes them. Each language is a file
 * of its own, loaded when it is spoken. */
import { useEffect, useState } from "preact/hooks";
import type { Checked, Key, Message, Values } from "./messages";

const FILES = {
  de: () => import("./de"),
  en: () => import("./en"),
  es: () => import("./es"),
  fr: () => import("./fr"),
  ja: () => import("./ja"),
  pt: () => import("./pt"),
};

export type Language = keyof typeof FILES;

/** The languages as each calls itself. */
export const LANGUAGES: readonly (readonly [Language, string])[] = [
  ["de", "Deutsch"],
  ["en", "English"],
  ["es", "Español"],
  ["fr", "Français"],
  ["pt", "Português"],
  ["ja", "日本語"],
];

const TAGS: Partial<Record<Language, string>> = { pt: "pt-BR" }; // where the texts are those of a country
const REMEMBERED = "language";

let language: Language = "en";
let locale = "en";
let messages = {} as Record<Key, Message>;
let server: Partial<Record<string, string>> = {};
let plurals = new Intl.PluralRules(locale);
const hearing = new Set<() => void>();

function known(tag: string | null | undefined): Language | undefined {
  return LANGUAGES.map(([one]) => one).find((one) => one === tag?.split("-")[0]?.toLowerCase());
}

function remembered(): Language | undefined {
  try {
    return known(localStorage.getItem(REMEMBERED));
  } catch {
    return undefined; // a browser that keeps nothing
  }
}

/** The messages of another language, checked. */
export function translation<const T extends Record<string, Message>>(messages: T & Checked<T>): Record<Key, Message> {
  return messages;
}

/** The first of the browser's languages that the page speaks, or English. */
export function preferred(wanted: readonly string[]): Language {
  return wanted.map(known).find((one) => one) ?? "en";
}

/** Load a language and speak it from now on. Numbers and dates are written as in the country that the browser names. */
export async function speak(wanted: Language): Promise<void> {
  const loaded = await FILES[wanted]();
  language = wanted;
  messages = loaded.default;
  server = loaded.server;
  locale = globalThis.navigator?.languages?.find((tag) => known(tag) === wanted) ?? TAGS[wanted] ?? wanted;
  plurals = new Intl.PluralRules(locale);
  if (globalThis.document) document.documentElement.lang = TAGS[wanted] ?? wanted;
  for (const hear of hearing) hear();
}

/** Speak what was chosen here before, or what the browser prefers. */
export async function begin(): Promise<void> {
  const wanted = () => remembered() ?? preferred(navigator.languages);
  addEventListener("languagechange", () => void speak(wanted()));
  await speak(wanted());
}

/** Speak a language, now and on the next visits. */
export async function choose(wanted: Language): Promise<void> {
  await speak(wanted);
  try {
    localStorage.setItem(REMEMBERED, wanted);
  } catch {
    // it lasts until the page is left
  }
}

/** The language that is spoken. What uses this is drawn again when it changes, with all that is in it. */
export function useLanguage(): Language {
  const [, redraw] = useState(language);
  useEffect(() => {
    const hear = () => redraw(language);
    hearing.add(hear);
    return () => void hearing.delete(hear);
  }, []);
  return language;
}

/** The text of a message in the language that is spoken. To be called while drawing: the language can change. */
export function t<K extends Key>(key: K, ...[values]: Values<K>): string {
  const given = values as Record<string, string | number> | undefined;
  const message = messages[key];
  const text = typeof message === "string" ? message : (message[plurals.select(Number(given?.count))] ?? message.other);
  return text.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = given?.[name] ?? "";
    return typeof value === "number" ? number(value) : value;
  });
}

/** A sentence of the server, in the language that is spoken where the page knows what `code` means: "weak", "action",
 * "finding" or "problem", and the server's code. */
export function served(code: string, sentence: string): string {
  return server[code] ?? sentence;
}

/** What went wrong and what to do, of an error as the server tells it. */
export function explained({ code, message, hint }: { code: string; message: string; hint: string }): string {
  return served(`problem.${code}`, `${message} ${hint}`);
}

export function number(value: number, digits?: number): string {
  const fixed = digits === undefined ? {} : { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return new Intl.NumberFormat(locale, fixed).format(value);
}

export function percent(fraction: number, digits = 0): string {
  const fixed = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return new Intl.NumberFormat(locale, { style: "percent", ...fixed }).format(fraction);
}

/** "40 seconds", or "40 s" where it is `short`. */
export function quantity(
  value: number,
  unit: "second" | "minute" | "hour" | "day" | "kilobyte" | "megabyte",
  short = false,
  digits = 0,
): string {
  const fixed = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return new Intl.NumberFormat(locale, { style: "unit", unit, unitDisplay: short ? "short" : "long", ...fixed }).format(value);
}

/** "Nova", "Nova and Ada", "Nova, Ada, and Ben". */
export function joined(names: readonly string[]): string {
  return new Intl.ListFormat(locale).format(names);
}

export function moment(time: string): string {
  return new Date(time).toLocaleString(locale, { dateStyle: "medium", timeStyle: "short" });
}
