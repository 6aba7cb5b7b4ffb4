"""The engines that exist, and what the pipeline may rely on of each."""

import pytest

from understudy.errors import UnderstudyError
from understudy.voices.engine import ConversionSettings
from understudy.voices.engines import engine

NAMES = ("instant", "rvc")


@pytest.mark.parametrize("name", NAMES)
def test_an_engine_says_its_version_and_packages(name: str) -> None:
    found = engine(name)
    assert found.version >= 1
    assert all(isinstance(package, str) for package in found.packages)


def test_an_unknown_engine_is_refused_with_those_that_exist() -> None:
    with pytest.raises(UnderstudyError) as caught:
        engine("opera")
    assert caught.value.code == "engine-unknown"
    assert all(name in caught.value.hint for name in NAMES)


def test_every_setting_is_described_and_has_a_default() -> None:
    for name, field in ConversionSettings.model_fields.items():
        assert field.description, name
        assert not field.is_required(), name
    assert ConversionSettings() == ConversionSettings.model_validate({})
