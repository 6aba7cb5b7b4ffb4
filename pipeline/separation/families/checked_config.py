"""Values of an untrusted configuration, read with checks of their type and range."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from understudy.models.installed import Weights
from understudy.pipeline.separation.configuration import configuration_among, invalid, read_configuration
from understudy.pipeline.separation.stems import canonical, canonical_stems

T = TypeVar("T")


class CheckedConfig:
    """A section of a configuration; each value is checked when it is read."""

    def __init__(self, values: Mapping[str, Any], aliases: Mapping[str, str] | None = None) -> None:
        """`aliases`: other names for a value -> its name."""
        self._values = {(aliases or {}).get(name, name): value for name, value in values.items()}

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) is not None

    def refuse_others(self, known: Collection[str]) -> None:
        """Raise `ValueError` naming the values that are on and not among `known`: they would change the result."""
        if others := sorted(str(name)[:40] for name, value in self._values.items() if value and name not in known):
            raise ValueError(f"the meaning of {', '.join(others[:5])} is not known")

    def raw(self, name: str) -> Any:
        """The value as it is, None where there is none."""
        return self._values.get(name)

    def number(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number, however it is written. Raises `ValueError` outside of `low`..`high`, or without value and
        `default`."""
        value = self._values.get(name)
        if value is None:
            if default is None:
                raise ValueError(f"{name} is missing")
            return default
        try:
            found = float(value)
        except (TypeError, ValueError):
            found = float("nan")
        if isinstance(value, bool) or not low <= found <= high or found != int(found):
            raise ValueError(f"{name} is {str(value)[:40]!r} instead of a number from {low} to {high}")
        return int(found)

    def flag(self, name: str, default: bool) -> bool:
        """Whether the value is on, however that is written."""
        value = self._values.get(name)
        if value is None:
            return default
        return str(value).lower() in ("true", "1", "yes", "on", "1.0")


def section(configuration: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A mapping within the configuration, empty where there is none."""
    found = configuration.get(name)
    return found if isinstance(found, Mapping) else {}


def configured_stems(training: Mapping[str, Any]) -> tuple[str, ...]:
    """The stems that a network gives, by the ``training`` section of its configuration: its target, or all instruments.

    Raises `ValueError`.
    """
    instruments, target = training.get("instruments"), training.get("target_instrument")
    if instruments is None and target is not None:
        instruments = [target]
    if not isinstance(instruments, list) or not 1 <= len(instruments) <= 32:
        raise ValueError("it doesn't list its instruments")
    if not all(isinstance(name, str) and name.strip() for name in instruments):
        raise ValueError("the names of its instruments are not texts")
    names = canonical_stems(instruments)
    if target is None:
        return names
    if target in instruments:
        return (names[instruments.index(target)],)
    return (canonical(str(target)),)


def read_checked(weights: Weights, family: str, check: Callable[[Mapping[str, Any]], T]) -> T:
    """What `check` makes of the configuration among the companions of a checkpoint of that family.

    Raises ``model-companion``, and ``model-invalid``, also where `check` raises `ValueError`.
    """
    path = configuration_among(weights, family)
    configuration = read_configuration(path)
    try:
        return check(configuration)
    except ValueError as error:
        raise invalid(path, str(error)) from error
