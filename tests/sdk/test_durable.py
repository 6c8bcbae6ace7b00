"""What was written is there after a power failure, its folders included."""

from __future__ import annotations

from pathlib import Path

import pytest

from lepton_sdk import durable


def test_every_new_folder_is_made_to_last_before_the_file_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(durable, "sync_folder", synced.append)
    durable.write_durably(tmp_path / "a" / "b" / "record.json", b"{}")
    assert synced == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    synced.clear()
    durable.write_durably(tmp_path / "a" / "b" / "record.json", b"[]")
    assert synced == [tmp_path / "a" / "b"]
    assert (tmp_path / "a" / "b" / "record.json").read_bytes() == b"[]"


def test_errors_name_the_path_that_was_given(tmp_path: Path) -> None:
    (tmp_path / "folder" / "x").mkdir(parents=True)
    for path, error in ((tmp_path / "folder", IsADirectoryError), (Path("/proc/x"), FileNotFoundError)):
        with pytest.raises(error) as caught:
            durable.write_durably(path, b"content")
        assert caught.value.filename == str(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]
