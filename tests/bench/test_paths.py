"""The folders of new runs."""

import pytest

from lossbench.bench.errors import UsageError
from lossbench.bench.paths import new_folder


def test_commands_that_start_at_once_get_folders_of_their_own(tmp_path):
    parent = tmp_path / "results" / "runs"
    made = [new_folder(parent, "train-") for _ in range(3)]
    assert sorted(made) == sorted(parent.iterdir())
    assert len(set(made)) == 3
    assert all(folder.name.startswith("train-2") for folder in made)


def test_a_folder_that_cannot_be_made_is_told_in_a_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file/runs: Not a directory; expected a folder to write"):
        new_folder(tmp_path / "file" / "runs")
