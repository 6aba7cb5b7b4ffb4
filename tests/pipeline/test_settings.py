from pathlib import Path

import pytest

from understudy.errors import UnderstudyError
from understudy.pipeline.presets import presets
from understudy.pipeline.settings import CoverSettings, is_setting, load_settings, parse_value


def test_without_anything_said_the_defaults_hold():
    assert load_settings(environment={}) == CoverSettings()


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_valid(name: str):
    assert load_settings(name, environment={})


def test_preset_below_environment_below_options(tmp_path: Path):
    preset = tmp_path / "mine.yaml"
    preset.write_text("remix: {vocal_gain: 1, instrumental_gain: 1}\nkey: 1\nconversion: {index_rate: 0.1}\n")
    environment = {"UNDERSTUDY_REMIX__VOCAL_GAIN": "2", "UNDERSTUDY_KEY": "2", "UNDERSTUDY_CACHE": "/somewhere"}
    settings = load_settings(str(preset), {"key": 3, "song.start": None}, environment)
    assert settings.conversion.index_rate == 0.1
    assert (settings.remix.vocal_gain, settings.remix.instrumental_gain) == (2, 1)
    assert settings.key == 3
    assert settings.song.start == 0


def test_the_environment_may_choose_the_preset(tmp_path: Path):
    preset = tmp_path / "mine.yaml"
    preset.write_text("key: 5")
    assert load_settings(environment={"UNDERSTUDY_PRESET": str(preset)}).key == 5


@pytest.mark.parametrize(
    ("text", "seconds"), [("1:05", 65), ("0:45", 45), ("0:07.25", 7.25), ("1:02:30", 3750), ("72.5", 72.5)]
)
def test_times_may_be_written_as_a_clock_shows_them(tmp_path: Path, text: str, seconds: float):
    """Wherever a setting comes from: an option, the environment, a preset (YAML reads some clocks as numbers)."""
    preset = tmp_path / "mine.yaml"
    preset.write_text(f"song: {{start: {text}, duration: {text}}}")
    given = (
        load_settings(None, {"song.start": text, "song.duration": text}, {}),
        load_settings(None, {}, {"UNDERSTUDY_SONG__START": text, "UNDERSTUDY_SONG__DURATION": text}),
        load_settings(str(preset), {}, {}),
        load_settings(None, {"song": {"start": text, "duration": text}}, {}),
    )
    assert {(settings.song.start, settings.song.duration) for settings in given} == {(seconds, seconds)}


@pytest.mark.parametrize("text", ["1:75", "soon", "1:2:3:4"])
def test_what_is_no_time_is_told_how_to_write_one(text: str):
    with pytest.raises(UnderstudyError) as raised:
        load_settings(None, {"song.start": text}, {})
    assert raised.value.message == (
        f"The setting 'song.start' in the options is {text!r}: write 1:05, 1:02:30, or seconds such as 65 or 65.5."
    )


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("remix: {vocal_gian: 1}", "setting-unknown", "remix.vocal_gian"),
        ("nonsense: 1", "setting-unknown", "nonsense"),
        ("remix: {vocal_gain: loud}", "setting-invalid", "remix.vocal_gain"),
        (
            "separation: {ensemble: {weights: {a: {volume: 1}}}}",
            "setting-unknown",
            "separation.ensemble.weights.a.volume",
        ),
        ("separation: {ensemble: {weights: {a: {bands: [{from: 1}]}}}}", "setting-unknown", "weights.a.bands.0.from"),
        ("separation: {ensemble: {combine: sum}}", "setting-invalid", "separation.ensemble.combine"),
        ("separation: {inference: {overlap: 1}}", "setting-invalid", "separation.inference.overlap"),
        ("remix: 3", "setting-invalid", "remix"),
        ("transpose: sometimes", "setting-invalid", "transpose"),
        ("- a\n- b", "preset-invalid", "mine.yaml"),
        ("a: [", "preset-unreadable", "mine.yaml"),
        ("output: {format: tape}", "", "tape"),
    ],
)
def test_what_is_wrong_in_a_preset_is_named(tmp_path: Path, text: str, code: str, named: str):
    preset = tmp_path / "mine.yaml"
    preset.write_text(text)
    with pytest.raises(UnderstudyError) as raised:
        load_settings(str(preset), environment={})
    assert named in raised.value.message
    assert raised.value.code.startswith(code)
    assert raised.value.hint


def test_an_unknown_preset_names_those_there_are():
    with pytest.raises(UnderstudyError) as raised:
        load_settings("balancde", environment={})
    assert raised.value.code == "preset-unknown"
    assert "embedded" in raised.value.hint


def test_wrong_values_of_options_and_environment_say_where_they_stand():
    with pytest.raises(UnderstudyError, match="the options"):
        load_settings(options={"conversion.index_rate": 7}, environment={})
    with pytest.raises(UnderstudyError, match="the environment"):
        load_settings(environment={"UNDERSTUDY_CONVERSION__INDEX_RATE": "7"})


@pytest.mark.parametrize("off", [False, "off", "none", ""])
def test_a_step_of_a_preset_can_be_switched_off(off: object):
    assert load_settings("studio", environment={}).separation.lead
    assert load_settings("studio", {"separation.lead": off}, {}).separation.lead is None
    assert load_settings("studio", {"separation": {"lead": None}}, {}).separation.lead is None
    environment = {"UNDERSTUDY_SEPARATION__LEAD": "off"}
    settings = load_settings("studio", environment=environment)
    assert settings.separation.lead is None
    assert settings.separation.dereverb


def test_weights_of_models_whose_names_have_dots():
    weights = {"a.ckpt": {"weight": 2.0, "bands": [{"low": 100.0, "weight": 0.5}]}}
    settings = load_settings(None, {"separation": {"ensemble": {"weights": weights}}}, {})
    assert settings.separation.ensemble.weights["a.ckpt"].bands[0].low == 100


def test_the_old_name_of_the_instruments_is_still_accepted(tmp_path: Path):
    preset = tmp_path / "mine.yaml"
    preset.write_text("separation: {band: four}")
    with pytest.warns(FutureWarning, match=r"separation\.instruments"):
        assert load_settings(str(preset), environment={}).separation.instruments == "four"
    with pytest.warns(FutureWarning):
        assert load_settings(str(preset), {"separation.instruments": "six"}, {}).separation.instruments == "six"
    with pytest.warns(FutureWarning):
        assert load_settings(None, {"separation.band": "six"}, {}).separation.instruments == "six"
    environment = {"UNDERSTUDY_SEPARATION__BAND": "four"}
    with pytest.warns(FutureWarning):
        assert load_settings(None, {}, environment).separation.instruments == "four"
    with pytest.warns(FutureWarning):  # as a request to the API
        assert CoverSettings.model_validate({"separation": {"band": "four"}}).separation.instruments == "four"
    # as a job that was queued by an older version has it
    assert CoverSettings.model_validate({"separation": {"band": None}}).separation.instruments is None


def test_tags_are_taken_as_they_are_written():
    assert parse_value("tags.title_template", "{title} - {voice}") == "{title} - {voice}"
    assert parse_value("song_title", "1999") == "1999"
    settings = load_settings(environment={"UNDERSTUDY_TAGS__SONG_ARTIST": "no"})
    assert settings.tags.song_artist == "no"
    with pytest.raises(UnderstudyError, match="in braces there may be title, artist") as raised:
        load_settings(options={"tags.title_template": "{titel}"}, environment={})
    assert raised.value.code == "setting-invalid"


def test_all_wrong_settings_are_told_at_once() -> None:
    with pytest.raises(UnderstudyError) as caught:
        load_settings(None, {"remix.vocal_gain": "loud", "transpose": 99, "pitch.traker": "x"}, {})
    message = caught.value.message
    assert message.count("The setting ") == 2
    assert "'remix.vocal_gain' in the options is 'loud'" in message
    assert "'transpose' in the options is 99" in message
    assert "no setting 'pitch.traker'" in message


def test_names_of_settings() -> None:
    named = ("key", "remix", "remix.vocal_gain", "separation.ensemble.weights.a-model.weight", "separation.band")
    assert all(map(is_setting, named))
    assert not any(map(is_setting, ("vocal_gain", "remix.gain", "key.of", "transpose.auto", "", "song.start.at")))
