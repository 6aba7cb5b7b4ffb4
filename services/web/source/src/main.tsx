import { render } from "preact";
import { App } from "./app";
import "./style.css";
import "./library.css";

render(<App />, document.getElementById("app")!);
