"""What the documentation site has beside the files in docs/: README, CONTRIBUTING and CHANGELOG from the top of the
repository as pages, and examples in docstrings as blocks of code."""

from __future__ import annotations

import re
from pathlib import Path

from griffe import Extension, Object
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"(?<!!)\[([^]]+)\]\((?!\w+:|#)([^)#]*)(#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for source, page in PAGES.items():
        if (ROOT / source).is_file():
            text = LINK.sub(_link, (ROOT / source).read_text("utf-8"))
            files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Links to files of the repository that are no pages of the site become plain text."""
    return re.sub(r"\[([^]]+)\]\(\.\./[^)]*\)", r"\1", markdown)


def _link(match: re.Match[str]) -> str:
    """A link of a page at the top, as it stands in docs/; plain text where its target isn't on the site."""
    text, target, anchor = match.groups()
    if target.startswith("docs/") and target.endswith(".md"):
        return f"[{text}]({target.removeprefix('docs/')}{anchor or ''})"
    return f"[{text}]({PAGES[target]}{anchor or ''})" if target in PAGES else text


class Examples(Extension):
    """Lines that begin with ``>>>``, and what they print, in docstrings become blocks of code."""

    def on_object(self, *, obj: Object, **_: object) -> None:
        if obj.docstring:
            obj.docstring.value = re.sub(r"(?m)^>>> .*(?:\n.+)*", r"```pycon\n\g<0>\n```", obj.docstring.value)
