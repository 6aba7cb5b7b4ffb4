"""One configuration: file, environment, options."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.errors import UnderstudyError
from understudy.services.queue import settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in settings.ServerSettings.model_fields:
        monkeypatch.delenv(settings.PREFIX + name.upper(), raising=False)
    monkeypatch.delenv(settings.PREFIX + "CONFIG", raising=False)


def test_options_win_over_the_environment_and_that_over_the_file(tmp_path: Path, monkeypatch):
    file = tmp_path / "server.yaml"
    file.write_text("port: 1\nworkers: 1\nlease: 7\nhosts: [a.example]\n")
    monkeypatch.setenv("UNDERSTUDY_SERVER_PORT", "2")
    monkeypatch.setenv("UNDERSTUDY_SERVER_WORKERS", "2")
    monkeypatch.setenv("UNDERSTUDY_SERVER_HOSTS", "a.example, b.example")
    monkeypatch.setenv("UNDERSTUDY_SERVER_STORAGE_OPTIONS", '{"key": "1"}')
    found = settings.load(file, {"port": 3, "host": None})
    assert (found.port, found.workers, found.lease, found.host) == (3, 2, 7, "127.0.0.1")
    assert found.hosts == ("a.example", "b.example")
    assert found.storage_options == {"key": "1"}
    monkeypatch.setenv("UNDERSTUDY_SERVER_CONFIG", str(file))
    assert settings.load().lease == 7


def test_faults_are_named_with_their_place(tmp_path: Path, monkeypatch):
    file = tmp_path / "server.yaml"
    file.write_text("prot: 1\n")
    with pytest.raises(UnderstudyError, match=r"'prot' in .*server.yaml"):
        settings.load(file)
    monkeypatch.setenv("UNDERSTUDY_SERVER_PORT", "high")
    with pytest.raises(UnderstudyError, match="'port' in the environment"):
        settings.load()
    for text in ("- a", "a: [", "\x00"):
        file.write_text(text)
        with pytest.raises(UnderstudyError) as caught:
            settings.load(file)
        assert caught.value.code == "server-config-unreadable"


def test_where_it_is_reached(monkeypatch):
    for given, path in (("understudy/", "/understudy"), ("/a/b-c", "/a/b-c"), ("/", ""), ("", "")):
        assert settings.load(options={"root_path": given}).root_path == path
    monkeypatch.setenv("UNDERSTUDY_SERVER_PROXIES", "127.0.0.1, 10.0.0.0/8")
    monkeypatch.setenv("UNDERSTUDY_SERVER_WEBHOOK_PORTS", "8443")
    found = settings.load(options={"origins": ("https://shop.example", "http://localhost:3000")})
    assert (found.proxies, found.webhook_ports) == (("127.0.0.1", "10.0.0.0/8"), (8443,))
    for wrong in (
        {"root_path": "/a?b"},
        {"root_path": "/../x"},
        {"origins": ("*",)},
        {"origins": ("https://shop.example/",)},
        {"origins": ("null",)},
        {"proxies": ("*",)},
        {"proxies": ("proxy.example",)},
        {"webhook_networks": ("10.0.0.0/99",)},
    ):
        with pytest.raises(UnderstudyError) as caught:
            settings.load(options=wrong)
        assert caught.value.code == "server-setting-invalid"
        assert next(iter(wrong)) in caught.value.message
