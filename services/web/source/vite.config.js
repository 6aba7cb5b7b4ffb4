import { defineConfig } from "vitest/config";

export default defineConfig({
  base: "./", // the page works below any path
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  test: { setupFiles: ["tests/setup.ts"] },
  build: {
    outDir: "../static",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 2000, // kB: Swagger UI
    license: { fileName: "licenses.md" },
    rollupOptions: { input: ["index.html", "docs.html"] },
  },
});
