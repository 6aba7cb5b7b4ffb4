/** All songs with their covers, and all voices: found by a word, heard, named, passed on, deleted. */
import { useState } from "preact/hooks";
import { SingerGroups, SongGroups, usePlaying } from "./covers";
import { useTitle } from "./hooks";
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
  useTitle("Library");
  const [text, setText] = useState("");
  const [order, setOrder] = useState<Order>("song");
  const playing = usePlaying();
  const found = matching(groups, text);
  const singing = found.some((group) => group.versions.length);
  return (
    <article>
      <h1 tabIndex={-1}>Library</h1>
      <Card title="Songs">
        <div class="row finding">
          <label class="grow">
            <span class="hidden">Search songs and covers</span>
            <input
              type="search"
              placeholder="Search songs and covers"
              value={text}
              onInput={(event) => setText(event.currentTarget.value)}
            />
          </label>
          <div class="sides" role="radiogroup" aria-label="Group">
            {(["song", "voice"] as const).map((one) => (
              <label key={one}>
                <input type="radio" name="order" checked={order === one} onChange={() => setOrder(one)} />
                <span>by {one}</span>
              </label>
            ))}
          </div>
        </div>
        <p class="hidden" role="status">
          {text && `${found.length} ${found.length === 1 ? "song" : "songs"} found`}
        </p>
        {!groups.length && <p class="soft">Songs that you send and their covers are listed here.</p>}
        {groups.length > 0 && !found.length && <p class="soft">Nothing has “{text}” in its name.</p>}
        {order === "voice" && found.length > 0 && !singing && <p class="soft">No covers yet.</p>}
        {order === "song" ? <SongGroups groups={found} playing={playing} /> : <SingerGroups groups={found} playing={playing} />}
      </Card>
      <Voices voices={voices} playing={playing} onChange={onChange} />
    </article>
  );
}
