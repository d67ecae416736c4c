"""The examples of docs/config.md, as they stand there, next to what the program takes."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from .conftest import PROGRAM, needs_program

PAGE = Path(__file__).resolve().parents[2] / "docs" / "config.md"
EXAMPLES = re.findall(r"^```json\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)[:2]


@needs_program
def test_the_examples_have_every_top_level_key() -> None:
    schema = subprocess.run([PROGRAM, "schema"], capture_output=True, check=True)
    known = set(json.loads(schema.stdout)["properties"])
    assert {key for example in EXAMPLES for key in json.loads(example)} == known


@needs_program
@pytest.mark.parametrize("example", EXAMPLES, ids=["server", "graph"])
def test_the_program_takes_the_examples(tmp_path: Path, example: str) -> None:
    config = json.loads(example)
    if config["problem"].get("dataset") == "mnist":
        config["problem"]["dataset"] = "mnist-small"  # Which needs no file.
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    checked = subprocess.run([PROGRAM, "check", path], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
