import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { defineConfig } from "vitest/config";

/** Builds the service worker: `worker.js` with the names of the files that the page consists of, and a hash of them. */
function serviceWorker() {
  return {
    name: "service-worker",
    generateBundle: {
      order: "post",
      handler(_, bundle) {
        const page = bundle["index.html"].source;
        const built = Object.keys(bundle).filter((name) => /^assets\/(?!docs).*\.(js|css)$/.test(name));
        const files = ["./", "icon.svg", "manifest.webmanifest", ...built.sort()];
        const version = createHash("sha256").update(`${page}${files}`).digest("hex").slice(0, 16);
        const source = readFileSync("worker.js", "utf8").replace('["FILES"]', JSON.stringify(files)).replace('"VERSION"', `"${version}"`);
        this.emitFile({ type: "asset", fileName: "worker.js", source });
      },
    },
  };
}

export default defineConfig({
  base: "./", // the page works below any path
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  test: { setupFiles: ["tests/setup.ts"] },
  plugins: [serviceWorker()],
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
