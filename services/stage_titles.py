"""What the stages do, in words for users: for progress bars, the API and the web page."""

from __future__ import annotations

TITLES = {
    "decode": "Reading the song",
    "separate": "Separating vocals and instrumental",
    "lead": "Telling lead and backing vocals apart",
    "dereverb": "Taking the reverb off the lead",
    "denoise": "Taking the noise off the lead",
    "band": "Taking the band apart",
    "chain": "Listing what came off the lead",
    "pitch": "Tracking the pitch",
    "prepare": "Getting to know the voice",
    "transpose": "Choosing the octave",
    "cut": "Finding the turns",
    "convert": "Singing with the voice",
    "roll": "Listing who sings",
    "keep": "Keeping the original singer",
    "backdrop": "Gathering all but the lead",
    "finish": "Placing the vocal",
    "shift": "Shifting the key",
    "weigh": "Weighing the parts",
    "remix": "Remixing",
    "stems": "Cutting the stems",
    "sum": "Adding stems together",
    "mix": "Setting the levels",
    "karaoke": "Softening the lead",
    "notes": "Writing down the notes",
    "quality": "Judging the separation",
    "headroom": "Checking for clipping",
    "encode": "Writing the file",
    "assess": "Listening to the new vocal",
    "report": "Checking the result",
    "fetch": "Downloading",
    "add": "Taking in the model",
    "verify": "Verifying",
}


def stage_title(node: str) -> str:
    """What the node named `node` does. A node that isn't listed is shown by its name."""
    first, _, rest = node.partition(" ")
    return TITLES.get(first, node) + (f" ({rest})" if rest else "")
