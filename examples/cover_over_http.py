"""A cover made by a server: ``understudy serve`` in one terminal, this in another.

pip install understudy-client
python examples/cover_over_http.py song.mp3 recording.flac cover.flac
"""

import sys

from understudy_client import ApiError, Understudy
from understudy_client.openapi.models import CoverSettings, RemixSettings


def main(song: str, recording: str, output: str, address: str = "http://127.0.0.1:8000") -> None:
    with Understudy(address) as server:
        try:
            server.wait(server.add_voice("nova", recording, consent="self"))
        except ApiError as error:
            if error.code != "voice-exists":
                raise
        job = server.make_cover(song, "nova", CoverSettings(remix=RemixSettings(vocal_gain=2.0)))
        cover = server.wait(job, lambda event: print(event.number, event.type_))
        if cover.audio:
            print(server.download(cover.audio, output))


if __name__ == "__main__":
    main(*sys.argv[1:])
