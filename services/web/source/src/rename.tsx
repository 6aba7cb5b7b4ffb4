/** A name that can be changed where it stands. */
import type { ComponentChildren } from "preact";
import { useRef, useState } from "preact/hooks";
import { useTask } from "./hooks";
import { t } from "./i18n/language";
import { Icon, RENAME } from "./icons";
import { Trouble } from "./parts";

interface Props {
  name: string;
  longest: number; // letters
  onRename: (name: string) => Promise<void>;
  children: ComponentChildren; // what is shown while it isn't changed
}

/** A field that appears: what is typed replaces the name in it. */
function focus(field: HTMLInputElement | null): void {
  field?.focus();
  field?.select();
}

export function Renaming({ name, longest, onRename, children }: Props) {
  const { busy, problem, run } = useTask();
  const [draft, setDraft] = useState<string | null>(null);
  const opener = useRef<HTMLButtonElement>(null);
  const close = () => {
    setDraft(null);
    requestAnimationFrame(() => opener.current?.focus());
  };
  if (draft === null)
    return (
      <>
        {children}
        <button class="icon" ref={opener} aria-label={t("rename.it", { name })} title={t("rename")} onClick={() => setDraft(name)}>
          <Icon path={RENAME} />
        </button>
      </>
    );
  return (
    <form
      class="row grow"
      onSubmit={(event) => {
        event.preventDefault();
        run(() => onRename(draft.trim()).then(close));
      }}
      onKeyDown={(event) => event.key === "Escape" && close()}
    >
      <label class="grow">
        <span class="hidden">{t("rename.new", { name })}</span>
        <input ref={focus} required maxLength={longest} value={draft} onInput={(event) => setDraft(event.currentTarget.value)} />
      </label>
      <button class="primary" disabled={busy || !draft.trim()}>
        {t("rename")}
      </button>
      <button type="button" onClick={close}>
        {t("cancel")}
      </button>
      <Trouble problem={problem} />
    </form>
  );
}
