/** Views that are seldom used, loaded when they are first shown, so that the page itself stays light. */
import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { t } from "./i18n/language";

/** The component that `load` gives, once it is there. Until then its place is busy. */
export function later<Props extends object>(load: () => Promise<ComponentType<Props>>): ComponentType<Props> {
  let View: ComponentType<Props> | null = null;
  return function Later(props: Props) {
    const [state, setState] = useState<"loading" | "there" | "failed">(View ? "there" : "loading");
    useEffect(() => {
      if (View) return;
      load().then(
        (found) => {
          View = found;
          setState("there");
        },
        () => setState("failed"),
      );
    }, []);
    if (View) return <View {...props} />;
    return state === "failed" ? <p role="alert">{t("later.failed")}</p> : <p aria-busy="true" />;
  };
}
