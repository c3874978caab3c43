"""A path of a manifest stays below the manifest's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from trtn.dsl.weights.paths import OutsideFolder, confine


@pytest.mark.parametrize("path", ["a.bin", "sub/a.bin", "sub/../a.bin", "./a.bin", "missing/deep/x.bin", "..a.bin"])
def test_inside(tmp_path: Path, path: str) -> None:
    assert confine(tmp_path, path).is_relative_to(tmp_path.resolve())


@pytest.mark.parametrize("path", ["../a.bin", "sub/../../a.bin", "/etc/passwd", "../", ".."])
def test_outside(tmp_path: Path, path: str) -> None:
    with pytest.raises(OutsideFolder):
        confine(tmp_path, path)
    assert confine(tmp_path, path, allow_outside=True) == (tmp_path / path).resolve()


def test_an_absolute_path_is_outside_even_where_it_leads_inside(tmp_path: Path) -> None:
    with pytest.raises(OutsideFolder):
        confine(tmp_path, str(tmp_path / "a.bin"))


def test_a_neighbour_whose_name_begins_alike_is_outside(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(OutsideFolder):
        confine(tmp_path / "model", "../model-2/a.bin")


def test_links_are_followed(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    root.mkdir()
    other.mkdir()
    (root / "file.bin").symlink_to(other / "secret.bin")
    (root / "folder").symlink_to(other)
    (root / "good.bin").symlink_to(root / "real.bin")
    for path in ("file.bin", "folder/secret.bin"):
        with pytest.raises(OutsideFolder):
            confine(root, path)
    assert confine(root, "good.bin") == (root / "real.bin").resolve()


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert confine(tmp_path / "link", "a.bin") == (tmp_path / "real" / "a.bin").resolve()


def test_text_that_is_no_path(tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to(tmp_path / "y")
    (tmp_path / "y").symlink_to(tmp_path / "x")
    for path in ("", "a\0b"):
        with pytest.raises(ValueError, match="not a path"):
            confine(tmp_path, path)
    try:  # a circle of links: an error, or on newer Pythons a path inside
        assert confine(tmp_path, "x/a.bin").is_relative_to(tmp_path.resolve())
    except ValueError as error:
        assert "followed" in str(error)
