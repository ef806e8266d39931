"""The page about training loops: its code runs, and it names every situation that there is."""

import re
import subprocess
import sys

from lossbench.bench.paths import ROOT
from lossbench.bench.training_loop.catalogue import LOOP_SITUATIONS

PAGE = ROOT / "docs" / "training.md"
EXAMPLE = ROOT / "docs" / "examples" / "train_digits.py"


def test_the_code_of_the_page_runs(capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 8
    names = {"__name__": "page"}
    for block in blocks:
        exec(block, names)
    assert "embeddings must be of one sample or more" in capsys.readouterr().out


def test_the_page_names_every_situation_of_its_sections():
    loops = {"accumulation", "two forwards", "shared embedding", "retain_graph"}
    elsewhere = loops | {"frozen backbone", "frozen head", "SGD, momentum, Adagrad"}
    elsewhere |= {"weight decay, AdamW", "clip_grad_norm_"}
    named = set(re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", PAGE.read_text(), flags=re.S)))
    assert LOOP_SITUATIONS.keys() - elsewhere <= named


def test_the_worked_example_learns_the_digits():
    done = subprocess.run(
        [sys.executable, EXAMPLE], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, timeout=300,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    (accuracy,) = re.findall(r"accuracy after 2 epochs: (\S+)", done.stdout)
    assert float(accuracy) > 0.8
