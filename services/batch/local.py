"""Making the covers of a batch on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Event
from typing import Any

from understudy.jobs import CoverJob, Runner, make_cover
from understudy.pipeline.cast import Cast
from understudy.pipeline.executor import Executor, StageEvent
from understudy.services.batch.plan import Item, Singer
from understudy.services.batch.run import Maker

Casting = Callable[[str], Cast]


def finder(casting: Casting) -> Callable[[str], Singer]:
    """Looks voices up in the library; their files are checked against their hashes."""

    def find(who: str) -> Singer:
        cast = casting(who)
        return cast.name, cast.content_hash

    return find


def maker(executor: Executor, casting: Casting, overwrite: bool) -> Maker:
    """Covers share the lanes of `executor`."""

    def make(item: Item, notify: Callable[[StageEvent], None], stop: Event) -> Mapping[str, Any]:
        job = CoverJob(item.song, casting(item.who), item.settings, output=item.output, overwrite=overwrite)
        return make_cover(job, Runner(executor, notify, stop)).to_dict()

    return make
