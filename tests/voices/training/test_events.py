from __future__ import annotations

import json
import subprocess
import sys

from understudy.voices.training.events import TrainingEvent


def test_an_event_survives_json():
    event = TrainingEvent("evaluation", 30, 90, {"mel": 1.5}, {"similarity": 0.7}, 30, 12.5, "best so far")
    assert TrainingEvent(**json.loads(json.dumps(event.to_dict()))) == event


def test_it_needs_no_torch():
    code = "import sys, understudy.voices.training.events, understudy.voices.training.run_folder; "
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
