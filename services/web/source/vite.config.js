import { defineConfig } from "vite";

export default defineConfig({
  base: "/",
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  build: { outDir: "../static", emptyOutDir: true, target: "es2022", modulePreload: { polyfill: false } },
});
