import { render } from "preact";
import { App } from "./app";
import { begin } from "./i18n/language";
import "./style.css";
import "./library.css";

void begin().then(() => render(<App />, document.getElementById("app")!));
