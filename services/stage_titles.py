"""What the stages do, in words for users: for progress bars, the API and the web page."""

from __future__ import annotations

TITLES = {
    "decode": "Reading the song",
    "restore": "Restoring the song",
    "separate": "Separating vocals and instrumental",
    "lead": "Separating lead and backing vocals",
    "dereverb": "Removing reverb from the lead",
    "denoise": "Removing noise from the lead",
    "instruments": "Separating the instruments",
    "chain": "Listing what was removed from the lead",
    "vocal level": "Estimating the level of the original vocal",
    "singer removal": "Removing what is left of the singer",
    "tempo": "Measuring tempo and key",
    "pitch": "Tracking the pitch",
    "prepare": "Preparing the voice",
    "transpose": "Choosing the octave",
    "cut": "Cutting the vocal by voice",
    "study": "Matching the voice to the singer",
    "convert": "Singing with the voice",
    "chorus": "Finding the chorus",
    "convert chorus": "Singing the chorus",
    "finish chorus": "Fitting the chorus to the original",
    "measure chorus": "Measuring the parts of the chorus",
    "remix chorus": "Remixing the chorus",
    "alone": "Keeping the chorus alone",
    "passage": "Cutting out the chorus",
    "cast list": "Listing who sings",
    "keep": "Keeping the original singer",
    "backdrop": "Collecting everything but the lead",
    "finish": "Fitting the vocal to the original",
    "shift": "Moving the instrumental to another key",
    "mark": "Adding the watermark",
    "measure": "Measuring the parts",
    "remix": "Remixing",
    "stems": "Making the stems of the cover",
    "sum": "Adding stems together",
    "mix": "Setting the levels",
    "karaoke": "Softening the lead",
    "notes": "Transcribing notes",
    "quality": "Estimating the quality of the separation",
    "headroom": "Checking for clipping",
    "encode": "Writing the file",
    "artwork": "Reading the artwork",
    "video": "Making the video",
    "ingredient": "Reading the song's own credentials",
    "sign": "Signing the file",
    "assess": "Checking the new vocal",
    "report": "Checking the result",
    "check": "Checking the recording",
    "clips": "Slicing the recording",
    "content": "Computing content features",
    "train": "Training the voice",
    "fetch": "Downloading",
    "add": "Adding the model",
    "verify": "Verifying",
}


def stage_title(kind: str, subject: str = "") -> str:
    """What a node of that kind does (`understudy.pipeline.graph.Node`), or the kind itself where it isn't listed."""
    return TITLES.get(kind, kind) + (f" ({subject})" if subject else "")


def title_of(name: str) -> str:
    """The same from the name of a node, where only that is stored."""
    kind = next((kind for kind in TITLES if name == kind or name.startswith(f"{kind} ")), name)
    return stage_title(kind, name.removeprefix(kind).strip())
