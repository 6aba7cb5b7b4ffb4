import ts from "typescript";
import { expect, test } from "vitest";
import english from "../src/i18n/en";
import french from "../src/i18n/fr";

const SOURCES = import.meta.glob<string>(["../src/*.{ts,tsx}", "!../src/schema.ts"], { query: "?raw", import: "default", eager: true });

const SHOWN = /^(title|label|placeholder|alt|words|hint|about|aria-label|aria-valuetext)$/; // attributes that people read
const SAME = ["Understudy", "A", "B", "M", "S"]; // in every language
const SENTENCE = /^\p{Lu}\p{Ll}+( |[.…]$)|\p{Ll} (\p{Ll}+ )+\p{Ll}/u;
const LETTER = /\p{L}/u;

/** The texts in a source that people would read: between tags, in attributes, and sentences in string literals. */
function texts(name: string, source: string): string[] {
  const found: string[] = [];
  const look = (node: ts.Node) => {
    if (ts.isNewExpression(node) && node.expression.getText() === "Error") return; // for programmers
    const own = ts.isJsxText(node) || ts.isStringLiteralLike(node) || ts.isTemplateHead(node) || ts.isTemplateMiddleOrTemplateTail(node);
    const text = own ? node.text.trim() : "";
    const attribute = node.parent && ts.isJsxAttribute(node.parent) ? node.parent.name.getText() : "";
    const shown = ts.isJsxText(node) || SHOWN.test(attribute) ? LETTER : attribute ? null : SENTENCE;
    if (shown?.test(text) && !SAME.includes(text)) found.push(text);
    ts.forEachChild(node, look);
  };
  look(ts.createSourceFile(name, source, ts.ScriptTarget.Latest, true, ts.ScriptKind.TSX));
  return found;
}

test("texts that people read are found", () => {
  const source = 'const a = <p title="Sing">Song {b}: {c ? "Something is wrong." : `left of it all`} <i class="one two" /></p>;';
  expect(texts("a.tsx", source)).toEqual(["Sing", "Song", "Something is wrong.", "left of it all"]);
});

test("all texts of the page are in the files of the languages", () => {
  expect(Object.keys(SOURCES)).toContain("../src/app.tsx");
  expect(Object.entries(SOURCES).flatMap(([name, source]) => texts(name, source).map((text) => `${name}: ${text}`))).toEqual([]);
});

test("every text is shown somewhere", () => {
  const source = Object.values(SOURCES).join("\n");
  const begins = [...source.matchAll(/`([a-z.-]+)\$\{/g)].map(([, begin]) => begin!);
  const used = (key: string) => source.includes(`"${key}"`) || begins.some((begin) => key.startsWith(begin));
  expect(Object.keys(english).filter((key) => !used(key))).toEqual([]);
});

test("French says vous", () => {
  const familiar = /\b(ouvre|recharge|essaie|choisis|ton|ta|tes|toi|tu)\b/i;
  expect(Object.values(french).flatMap((text) => (typeof text === "string" && familiar.test(text) ? [text] : []))).toEqual([]);
});
