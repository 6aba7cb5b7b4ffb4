"""Every import of the product points down the list of packages in the design, and no module needs itself.

All imports count: those inside of functions and those for type checkers alone, too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("models", "audio", "voices", "pipeline", "services", "configs")
GROUND = {
    "understudy",
    "understudy.errors",
    "understudy.choices",
    "understudy.context",
    "understudy.disk",
    "understudy.environment",
    "understudy.memory",
    "understudy.packages",
    "understudy.validation",
    "understudy.wording",
}
LAYERS = ("ground", "models", "audio", "voices", "pipeline", "api", "services")
APART = (("understudy.voices.instant", "understudy.voices.rvc"),)  # engines don't know each other
FAMILIES = "understudy.pipeline.separation.families"


@cache
def modules() -> dict[str, Path]:
    """Every module of the product by its import name."""
    found = {}
    for folder in (*FOLDERS, "src/understudy"):
        for path in (ROOT / folder).rglob("*.py"):
            place = path.relative_to(ROOT / "src" if folder.startswith("src") else ROOT).with_suffix("")
            parts = place.parts if folder.startswith("src") else ("understudy", *place.parts)
            if len(parts) > 2 and folder.startswith("src") and parts[1] in FOLDERS:
                continue  # a link to the folder
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def layer(module: str) -> str:
    if module in GROUND or module.startswith("understudy.configs"):
        return "ground"
    second = module.split(".")[1]
    return second if second in FOLDERS else "services" if second == "__main__" else "api"


def imports(module: str) -> set[str]:
    """The modules of the product that `module` imports anywhere in it; names of packages' contents don't count."""
    found = set()
    for node in ast.walk(ast.parse(modules()[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in inner if name in modules()}
            if not inner <= modules().keys():
                found.add(node.module)
        elif isinstance(node, ast.ImportFrom):
            raise AssertionError(f"{module} has a relative import")
    return found & modules().keys()


@cache
def edges() -> dict[str, set[str]]:
    return {module: imports(module) for module in modules()}


def test_imports_of_every_kind_are_found():
    assert "understudy.jobs" in edges()["understudy.session"]
    assert "understudy.environment" in edges()["understudy.session"], "a module out of a package"
    assert "understudy.pipeline.evaluation.table" in edges()["understudy.results"], "inside of a function"
    assert "understudy.services.batch.run" in edges()["understudy.services.cli.console"], "for type checkers alone"
    assert len(modules()) > 200


def test_every_import_points_down():
    up = [
        f"{module} imports {other}"
        for module, others in edges().items()
        for other in others
        if LAYERS.index(layer(other)) > LAYERS.index(layer(module))
    ]
    assert not up, "\n".join(sorted(up))


def test_no_cycles():
    found = [circle for circle in circles() if len(circle) > 1]
    assert not found, "\n".join(" <-> ".join(sorted(circle)) for circle in found)


def test_engines_and_families_are_apart():
    sideways = []
    for module, others in edges().items():
        for other in others:
            for first, second in (*APART, *((b, a) for a, b in APART)):
                if module.startswith(first) and other.startswith(second):
                    sideways.append(f"{module} imports {other}")
            if module.startswith(f"{FAMILIES}.") and other.startswith(f"{FAMILIES}."):
                one, two = (name.removeprefix(f"{FAMILIES}.").split(".")[0] for name in (module, other))
                if one != two and (ROOT / "pipeline/separation/families" / two).is_dir():
                    sideways.append(f"{module} imports {other}")
    assert not sideways, "\n".join(sorted(sideways))


def circles() -> Iterator[set[str]]:
    """The strongly connected components of the imports (R. Tarjan, "Depth-first search and linear graph algorithms",
    SIAM J. Comput. 1, 1972), without recursion."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    for root in edges():
        if root in index:
            continue
        work = [(root, iter(sorted(edges()[root])))]
        index[root] = low[root] = len(index)
        stack.append(root)
        while work:
            module, others = work[-1]
            for other in others:
                if other not in index:
                    index[other] = low[other] = len(index)
                    stack.append(other)
                    work.append((other, iter(sorted(edges()[other]))))
                    break
                if other in stack:
                    low[module] = min(low[module], index[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[module])
                if low[module] == index[module]:
                    circle = set()
                    while module not in circle:
                        circle.add(stack.pop())
                    yield circle
