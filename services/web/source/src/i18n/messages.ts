/** What a file of messages has to hold. English is the pattern: another language that lacks a message of it, has one more,
 * or has other `{values}` in one doesn't compile. */
import type english from "./en";

/** A text, or one for each plural form of its value `{count}` that the language has (CLDR's names). */
export type Message = string | ({ other: string } & Partial<Record<Exclude<Intl.LDMLPluralRule, "other">, string>>);

type English = typeof english;
export type Key = keyof English;

type InText<Text> = Text extends `${string}{${infer Name}}${infer Rest}` ? Name | InText<Rest> : never;
type In<One> = One extends string ? InText<One> : "count" | InText<One[keyof One]>;

/** What `t` takes besides the key: nothing, or the values of the message. */
export type Values<K extends Key> = [In<English[K]>] extends [never] ? [] : [Record<In<English[K]>, string | number>];

type Same<One, Other> = [One] extends [Other] ? ([Other] extends [One] ? true : false) : false;
export type Checked<T> = { [K in Key]: K extends keyof T ? (Same<In<T[K]>, In<English[K]>> extends true ? T[K] : English[K]) : Message } & {
  [K in Exclude<keyof T, Key>]: never;
};

/** What the server says in English sentences, by codes: kinds of weaknesses, of actions, of findings and of problems. Of a
 * code that isn't among them the server's own sentence is shown. */
export type Server = Record<keyof typeof import("./de").server, string>;
