/** All songs with their covers, and all voices: found by a word, heard, named, passed on, deleted. */
import { useState } from "preact/hooks";
import { SingerGroups, SongGroups, usePlaying } from "./covers";
import { useTitle } from "./hooks";
import { t } from "./i18n/language";
import { Card } from "./parts";
import type { Voice } from "./schema";
import { matching, type SongGroup } from "./versions";
import { Voices } from "./voices";

interface Props {
  groups: readonly SongGroup[];
  voices: readonly Voice[];
  onChange: () => Promise<void>;
}

type Order = "song" | "voice";

export function Library({ groups, voices, onChange }: Props) {
  useTitle(t("app.library"));
  const [text, setText] = useState("");
  const [order, setOrder] = useState<Order>("song");
  const playing = usePlaying();
  const found = matching(groups, text);
  const singing = found.some((group) => group.versions.length);
  return (
    <article>
      <h1 tabIndex={-1}>{t("app.library")}</h1>
      <Card title={t("library.songs")}>
        <div class="row finding">
          <label class="grow">
            <span class="hidden">{t("library.search")}</span>
            <input type="search" placeholder={t("library.search")} value={text} onInput={(event) => setText(event.currentTarget.value)} />
          </label>
          <div class="sides" role="radiogroup" aria-label={t("library.group")}>
            {(["song", "voice"] as const).map((one) => (
              <label key={one}>
                <input type="radio" name="order" checked={order === one} onChange={() => setOrder(one)} />
                <span>{t(`library.by-${one}`)}</span>
              </label>
            ))}
          </div>
        </div>
        <p class="hidden" role="status">
          {text && t("library.found", { count: found.length })}
        </p>
        {!groups.length && <p class="soft">{t("library.empty")}</p>}
        {groups.length > 0 && !found.length && <p class="soft">{t("library.nothing", { text })}</p>}
        {order === "voice" && found.length > 0 && !singing && <p class="soft">{t("library.no-covers")}</p>}
        {order === "song" ? <SongGroups groups={found} playing={playing} /> : <SingerGroups groups={found} playing={playing} />}
      </Card>
      <Voices voices={voices} playing={playing} onChange={onChange} />
    </article>
  );
}
