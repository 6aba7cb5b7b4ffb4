"""The page in a real Firefox, which decodes, plays and records with other code than Chromium: from a song to its mixer.

Firefox is driven by Mozilla's own protocol (Marionette): Playwright needs a Firefox of its own making. Without a sound
server it plays nothing, so it gets one whose loudspeaker is nowhere.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from marionette_driver.by import By
from marionette_driver.marionette import Marionette

from tests.services.web.conftest import Served, made_voice
from tests.support.command import until
from understudy.services.web.page import STATIC

pytestmark = pytest.mark.slow
FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
PREFERENCES = {
    "devtools.console.stdout.content": True,  # what the page writes stands in the log
    "media.autoplay.default": 0,
    "media.navigator.permission.disabled": True,
    "media.navigator.streams.fake": True,  # its microphone
}


@pytest.fixture
def firefox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Marionette]:
    if FIREFOX is None or not shutil.which("pulseaudio"):
        pytest.skip("no Firefox with a sound server is installed; CI installs both")
    if not STATIC.is_dir():
        pytest.skip("the page isn't built; 'make page' builds it, and CI does")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("PULSE_RUNTIME_PATH", str(tmp_path))
    modules = ("-L", "module-null-sink", "-L", "module-native-protocol-unix")
    command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--disable-shm=yes", *modules]
    sound = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until((tmp_path / "native").exists)
    driver = Marionette(
        bin=FIREFOX,
        headless=True,
        prefs=PREFERENCES,
        gecko_log=str(tmp_path / "firefox.log"),
        port=0,
        workspace=str(tmp_path),
    )
    try:
        driver.start_session()
        yield driver
    finally:
        driver.quit()
        driver.cleanup()
        sound.terminate()
        sound.wait()


def test_from_a_song_to_its_mixer(firefox: Marionette, served: Served, tmp_path: Path) -> None:
    made_voice(served, "Nova")

    def script(expression: str) -> Any:
        return firefox.execute_script(f"return {expression}")

    def shows(words: str) -> None:
        until(lambda: script(f"document.body.innerText.includes({words!r})"), lambda: script("document.body.innerText"))

    def press(button: str) -> None:
        named = f"//button[normalize-space(.)={button!r} or @aria-label={button!r}]"
        until(lambda: firefox.find_elements(By.XPATH, named) and firefox.find_element(By.XPATH, named).is_enabled())
        firefox.find_element(By.XPATH, named).click()

    firefox.navigate(served.address)
    shows("New voice")
    script("document.querySelector('input[type=radio][name=voice]').click()")
    firefox.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(served.folder / "My song.wav"))
    shows("drop another to replace it")
    press("Make the cover")
    shows("How it came out")
    original = "[...document.querySelectorAll('input[type=radio]')].find((one) => one.labels[0].innerText[0] === 'B')"

    def decoded() -> bool:
        assert not script('document.body.innerText.includes("can\'t be loaded")')
        return bool(script(f"!{original}.disabled"))

    until(decoded)
    press("Play")
    until(lambda: float(script("document.querySelector('.seek').value")) > 0.3)
    script(f"{original}.click()")
    press("Pause")
    assert script(f"{original}.checked")
    assert served.address not in (tmp_path / "firefox.log").read_text(), "the page has written an error or a warning"
