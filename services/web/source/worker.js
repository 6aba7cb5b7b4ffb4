/** The service worker: it keeps the files that the page consists of, so that the page opens without its server. What
 * the API answers, sound among it, is never kept. The build puts the names of the files and a hash of them in here; with
 * another hash a browser installs the worker anew, and uses it as soon as no page of the old one is open. */
const FILES = ["FILES"];
const VERSION = "VERSION";

const scope = self.registration.scope; // other servers may lie below other paths of this host
const kept = `shell ${scope} ${VERSION}`;
const here = (path) => new URL(path, scope).href;
const lasting = (address) => address.startsWith(here("assets/")); // their names hold their hashes

self.addEventListener("install", (event) => {
  const files = FILES.map((path) => new Request(here(path), { cache: lasting(here(path)) ? "default" : "reload" }));
  event.waitUntil(caches.open(kept).then((cache) => cache.addAll(files)));
});

self.addEventListener("activate", (event) => {
  const old = (name) => name.startsWith(`shell ${scope} `) && name !== kept;
  event.waitUntil(caches.keys().then((names) => Promise.all(names.filter(old).map((name) => caches.delete(name)))));
});

self.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  const [address] = url.split(/[?#]/);
  if (method === "GET" && FILES.some((path) => address === here(path))) event.respondWith(answered(event.request, address));
});

/** The server's answer where it may have changed, and what is kept where the server can't be reached. */
async function answered(request, address) {
  const cache = await caches.open(kept);
  const found = await cache.match(address);
  if (found && lasting(address)) return found;
  const answer = await fetch(request).catch(() => null);
  if (answer && (answer.status < 500 || !found)) return answer;
  return found ?? Response.error();
}
