import { render } from "preact";
import { App } from "./app";
import { begin } from "./i18n/language";
import "./style.css";
import "./library.css";

void begin().then(() => render(<App />, document.getElementById("app")!));

// it keeps the page for times without its server; browsers have it over HTTPS and on this computer alone
if (import.meta.env.PROD && "serviceWorker" in navigator)
  addEventListener("load", () => void navigator.serviceWorker.register("worker.js").catch(() => undefined));
