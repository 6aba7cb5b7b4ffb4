"""Make a voice and a cover of a song.

python examples/one_cover.py song.mp3 "nova singing.wav"
"""

import sys

import understudy as us

song, recording = sys.argv[1:]

voices = us.VoiceLibrary()
if "nova" not in [voice.name for voice in voices.list()]:
    added = voices.add("nova", [recording], consent="self")  # "granted" for a voice whose owner has agreed
    for finding in added.findings:
        print(finding.sentence)

cover = us.cover(song, voice="nova")

print(cover.path)
print(f"{cover.loudness.cover:.1f} LUFS, {cover.transpose:+d} semitones. {cover.verdict.reason}")
for warning in cover.warnings:
    print(warning.warning)
