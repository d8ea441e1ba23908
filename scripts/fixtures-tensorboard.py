"""Writes test/fixtures/tensorboard.json: an event file as TensorBoard's own Python package writes it.

Needs tensorboard:

    python scripts/fixtures-tensorboard.py
"""

import io
import json
import pathlib

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

WALL_TIME = 1700000000.25
STEPS = {
    0: {"loss/validation": 1.75, "accuracy/validation": 0.125},
    1: {"loss/train": 0.1, "épreuve": -3.5e-8},
    300: {"learning_rate": 0.0, "loss/train": 1e30},
}


class Kept(io.BytesIO):
    """RecordWriter closes what it writes to."""

    def close(self):
        pass


def main():
    kept = Kept()
    writer = RecordWriter(kept)
    writer.write(Event(wall_time=WALL_TIME, file_version="brain.Event:2").SerializeToString())
    for step, scalars in STEPS.items():
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        writer.write(Event(wall_time=WALL_TIME, step=step, summary=Summary(value=values)).SerializeToString())
    writer.flush()
    content = {"wallTime": WALL_TIME, "steps": list(STEPS.items()), "file": kept.getvalue().hex()}
    path = pathlib.Path(__file__).parent.parent / "test" / "fixtures" / "tensorboard.json"
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
