"""Bundles for other sites: the same bytes each time, and nothing that an archive says is believed."""

from __future__ import annotations

import fcntl
import os
import shutil
import zipfile
from pathlib import Path

import pytest

from model.errors import BundleError
from model.serving.bundle import Bundle, load_bundle
from model.serving.manifest import FILES
from model.serving.transfer import MAX_FILES, export_bundle, import_bundle
from tests.support.helpers_bundle import bundle_by_hand


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    made = load_bundle(bundle_by_hand(tmp_path / "hand-1"))
    made.card_path.write_text("a card", encoding="utf-8")
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_bundle_comes_through_a_zip_unaltered(bundle, tmp_path):
    archive = export_bundle(bundle, tmp_path / "out.zip")
    taken = import_bundle(archive, tmp_path / "site" / "models")
    assert taken.path == tmp_path / "site" / "models" / "hand-1"
    assert contents(taken.path) == contents(bundle.path)
    assert [path.name for path in taken.path.parent.iterdir()] == ["hand-1"]


def test_a_bundle_comes_through_a_folder_unaltered(bundle, tmp_path):
    folder = export_bundle(bundle, tmp_path / "out")
    assert folder == tmp_path / "out" / "hand-1"
    assert contents(import_bundle(folder, tmp_path / "models").path) == contents(bundle.path)


def test_an_import_removes_the_drafts_of_killed_imports_and_of_no_other(bundle, tmp_path):
    folder = tmp_path / "models"
    for name in ("dead", "alive", "young"):
        (folder / f".import-{name}" / "bundle").mkdir(parents=True)
    for name in ("dead", "alive"):
        os.utime(folder / f".import-{name}", (1, 1))
    descriptor = os.open(folder / ".import-alive", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    import_bundle(bundle.path, folder)
    os.close(descriptor)
    assert sorted(path.name for path in folder.iterdir()) == [".import-alive", ".import-young", "hand-1"]


def test_a_bundle_is_durable_before_it_has_its_name(bundle, tmp_path, monkeypatch):
    target, real, synced = tmp_path / "models" / "hand-1", os.fsync, {}

    def fsync(descriptor):
        synced[str(Path(f"/proc/self/fd/{descriptor}").readlink())] = target.exists()
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    import_bundle(bundle.path, target.parent)
    drafts = {path.rpartition("/")[2] for path, is_named in synced.items() if not is_named}
    assert drafts == {"bundle", *contents(target)}
    assert synced[str(target.parent)]


def test_an_export_that_is_killed_leaves_no_archive_under_its_name(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile.ZipFile, "writestr", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        export_bundle(bundle, tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()
    monkeypatch.undo()
    export_bundle(bundle, tmp_path / "out.zip")
    assert [path.name for path in tmp_path.glob("out.zip*")] == ["out.zip"]


def test_the_same_bundle_is_the_same_zip_wherever_and_whenever_it_is_written(bundle, tmp_path):
    first = export_bundle(bundle, tmp_path / "a.zip").read_bytes()
    elsewhere = tmp_path / "elsewhere" / "hand-1"
    shutil.copytree(bundle.path, elsewhere)
    for path in elsewhere.iterdir():
        path.touch()
        path.chmod(0o600)
    assert export_bundle(load_bundle(elsewhere), tmp_path / "b.zip").read_bytes() == first


@pytest.mark.parametrize("name", ["out.zip", "out"])
def test_nothing_is_overwritten(bundle, tmp_path, name):
    export_bundle(bundle, tmp_path / name)
    with pytest.raises(BundleError, match="exists already"):
        export_bundle(bundle, tmp_path / name)


def test_the_same_bundle_twice_is_one_and_another_of_its_name_is_refused(bundle, tmp_path):
    archive = export_bundle(bundle, tmp_path / "out.zip")
    assert import_bundle(archive, tmp_path / "models") == import_bundle(archive, tmp_path / "models")
    other = bundle_by_hand(tmp_path / "other" / "hand-1", threshold=0.7)
    with pytest.raises(BundleError, match=r"lacks MODEL_CARD\.md"):
        import_bundle(other, tmp_path / "models")
    (other / "MODEL_CARD.md").write_text("a card", encoding="utf-8")
    with pytest.raises(BundleError, match="another bundle of that name"):
        import_bundle(other, tmp_path / "models")
    assert load_bundle(tmp_path / "models" / "hand-1").threshold == 0.5


def rewritten(bundle: Bundle, out: Path, **changes: bytes) -> Path:
    """A zip of the bundle with other files in it, or other bytes under their names."""
    files = {f"hand-1/{name}": data for name, data in contents(bundle.path).items()}
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in (files | changes).items():
            archive.writestr(name, data)
    return out


@pytest.mark.parametrize("name", FILES)
def test_a_file_altered_on_the_way_is_found_by_its_digest(bundle, tmp_path, name):
    archive = rewritten(bundle, tmp_path / "out.zip", **{f"hand-1/{name}": b"other bytes"})
    with pytest.raises(BundleError, match=rf"{name} is not the file the bundle was made with"):
        import_bundle(archive, tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize(
    "name", ["../../escaped.txt", "/tmp/escaped.txt", "hand-1/../../escaped.txt", "hand-1/extra.py", "..", "a\\..\\b"]
)
def test_no_path_of_an_archive_is_used(bundle, tmp_path, name):
    archive = rewritten(bundle, tmp_path / "out.zip", **{name: b"escaped"})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BundleError, match=r"do not belong to its bundle|names a file by a path"):
        import_bundle(archive, tmp_path / "site" / "models")
    assert sorted(set(tmp_path.rglob("*")) - set(before)) == [tmp_path / "site", tmp_path / "site" / "models"]
    assert not Path("/tmp/escaped.txt").exists()


def test_a_path_in_the_manifest_of_a_folder_is_not_followed(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("not yours", encoding="utf-8")
    evil = bundle_by_hand(tmp_path / "evil-1")
    _name_in_manifest(evil, "../secret.txt")
    with pytest.raises(BundleError, match="names a file by a path"):
        import_bundle(evil, tmp_path / "models")


def _name_in_manifest(path: Path, name: str) -> None:
    import json

    from model.serving.manifest import MANIFEST, manifest_digest

    manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    manifest["files"][name] = "0" * 64
    manifest["manifest_sha256"] = manifest_digest(manifest)
    (path / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    (path / "MODEL_CARD.md").write_text("a card", encoding="utf-8")


def test_a_bundle_whose_name_is_a_path_is_refused(tmp_path):
    evil = bundle_by_hand(tmp_path / "evil-1", name="../evil")
    (evil / "MODEL_CARD.md").write_text("a card", encoding="utf-8")
    with pytest.raises(BundleError, match="name or version that no bundle can have"):
        import_bundle(evil, tmp_path / "site" / "models")
    assert not (tmp_path / "site" / "evil-1").exists()


def test_an_archive_of_too_many_files_or_two_of_one_name_is_refused(bundle, tmp_path):
    many = rewritten(bundle, tmp_path / "many.zip", **{f"f{number}": b"" for number in range(MAX_FILES)})
    with pytest.raises(BundleError, match="more files than a bundle has"):
        import_bundle(many, tmp_path / "models")
    twice = rewritten(bundle, tmp_path / "twice.zip", **{"other/bundle.json": b"{}"})
    with pytest.raises(BundleError, match="two files of one name"):
        import_bundle(twice, tmp_path / "models")


def test_a_file_that_is_not_a_whole_archive_is_named(bundle, tmp_path):
    archive = export_bundle(bundle, tmp_path / "out.zip")
    (tmp_path / "short.zip").write_bytes(archive.read_bytes()[:-40])
    (tmp_path / "text.zip").write_text("no zip", encoding="utf-8")
    damaged = bytearray(archive.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "damaged.zip").write_bytes(damaged)
    for name in ("short.zip", "text.zip", "damaged.zip"):
        with pytest.raises(BundleError, match=r"not a zip archive|not a bundle|digest"):
            import_bundle(tmp_path / name, tmp_path / "models")
    with pytest.raises(BundleError, match="there is no"):
        import_bundle(tmp_path / "nothing.zip", tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_an_archive_without_a_manifest_is_not_a_bundle(tmp_path):
    with zipfile.ZipFile(tmp_path / "out.zip", "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(BundleError, match="is not a bundle"):
        import_bundle(tmp_path / "out.zip", tmp_path / "models")


def test_an_archive_that_unpacks_out_of_proportion_is_refused_before_it_is_unpacked(bundle, tmp_path):
    bomb = tmp_path / "bomb.zip"
    zeros = bytes(16 << 20)
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents(bundle.path).items():
            archive.writestr(name, zeros if name == "model.keras" else data)
        archive.writestr("more.bin", zeros)
    with pytest.raises(BundleError, match="larger than any of a bundle"):
        import_bundle(bomb, tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_that_cannot_be_unpacked_in_pieces_is_refused(bundle, tmp_path, method):
    with zipfile.ZipFile(tmp_path / "out.zip", "w", method) as archive:
        for name, data in contents(bundle.path).items():
            archive.writestr(name, data)
    with pytest.raises(BundleError, match="encrypted or larger"):
        import_bundle(tmp_path / "out.zip", tmp_path / "models")


@pytest.mark.parametrize("name", ["bundle.json", "MODEL_CARD.md", "model.tflite"])
@pytest.mark.parametrize("what", ["link", "pipe", "folder", "sparse"])
def test_a_folder_gives_regular_files_of_a_bundles_size_alone(bundle, tmp_path, name, what):
    folder = export_bundle(bundle, tmp_path / "out")
    elsewhere = (folder / name).rename(tmp_path / "elsewhere")
    if what == "link":
        (folder / name).symlink_to(elsewhere)
    if what == "pipe":
        os.mkfifo(folder / name)
    if what == "folder":
        (folder / name).mkdir()
    if what == "sparse":
        with (folder / name).open("wb") as file:
            file.truncate(8 << 30)
    message = {"link": "is a link", "sparse": "larger than any of a bundle"}.get(what, "is not a file")
    with pytest.raises(BundleError, match=message):
        import_bundle(folder, tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_a_folder_behind_a_link_that_was_named_is_taken(bundle, tmp_path):
    (tmp_path / "link").symlink_to(export_bundle(bundle, tmp_path / "out"))
    assert import_bundle(tmp_path / "link", tmp_path / "models").label == "hand-1"


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BundleError, match="neither a file nor a folder"):
        import_bundle(tmp_path / "pipe", tmp_path / "models")


@pytest.mark.parametrize("text", ["[" * 200_000, " " * ((16 << 20) + 1), '{"format": ' + "9" * 5000 + "}"])
def test_a_description_that_hurts_its_reader_is_refused(tmp_path, text):
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "bundle.json").write_text(text, encoding="utf-8")
    with pytest.raises(BundleError, match=r"not valid JSON|larger than any"):
        load_bundle(tmp_path / "evil")
