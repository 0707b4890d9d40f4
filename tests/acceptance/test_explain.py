"""``--explain``: a picture of why, for any film that the model may answer for, and one clear sentence for any other."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from dicom_io.film.film import FILM_VERSION
from model.serving.manifest import write_manifest
from tests.support.films import save
from tests.support.helpers_bundle import bundle_by_hand, manifest_by_hand
from tests.support.helpers_network import SIDE, mobile, written
from tests.support.running import Site
from tests.support.sites import new_site
from tests.support.studies import chest_film, new_uid, push

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.acceptance, pytest.mark.tensorflow, pytest.mark.slow, pytest.mark.timeout(300)]

NOTICE = "Not a medical device. Not for diagnosis."
PATIENT = {"PatientName": "Geheimrat^Wilhelmine", "PatientID": "GEHEIM-4711", "PatientBirthDate": "20230405"}


@dataclass(frozen=True)
class Known:
    """A site that has judged a study of two films and refused one of a single lateral film."""

    site: Site
    study: str
    decisive: str
    other: str


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Known]:
    folder, study = tmp_path_factory.mktemp("in"), new_uid()
    for number, opacity in enumerate((0.0, 0.9)):
        ds = chest_film(opacity, AccessionNumber="ACC-1", StudyInstanceUID=study, **PATIENT)
        save(ds, folder, f"{number}.dcm")
    save(chest_film(0.0, AccessionNumber="ACC-2", ViewPosition="LL", **PATIENT), folder, "lateral.dcm")
    with new_site() as site:
        site.run("ingest", folder)
        rows = site.query(
            "SELECT sop_uid FROM result_history WHERE study_uid = :study ORDER BY probability DESC", study=study
        )
        decisive, other = (row["sop_uid"] for row in rows)
        yield Known(site, study, decisive, other)


def words_of(path: Path) -> dict[str, str]:
    """The text chunks of a PNG that can be opened and is a picture of some size."""
    with Image.open(path) as picture:
        picture.load()
        assert picture.width >= 1480
        return {str(name): str(text) for name, text in picture.info.items()}


def test_the_film_that_decides_is_explained_by_the_model_that_judged_it(known: Known, tmp_path: Path) -> None:
    path = tmp_path / "why.png"
    plain = known.site.json("show", "ACC-1")
    done = known.site.run("show", "ACC-1", "--explain", path, "--json")
    words = words_of(path)
    (row,) = known.site.query("SELECT * FROM result_history WHERE sop_uid = :uid", uid=known.decisive)
    assert words["SOP Instance UID"] == known.decisive
    assert words["Model"] == f"{row['model_name']}-{row['model_version']}"
    assert (words["Label"], words["Logit"]) == (row["label"], f"{row['logit']:+.2f}")
    assert (words["Film version"], words["Method"], words["Notice"]) == (str(FILM_VERSION), "HiResCAM", NOTICE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert f"wrote {path}" in done.stderr
    assert [study["study_uid"] for study in plain] == [known.study]
    assert f'"{known.study}"' in done.stdout
    for secret in ("geheim", "wilhelmine", "4711", "20230405", "acc-1"):
        assert secret not in " ".join(words.values()).lower()
        assert secret not in done.stderr.lower()


def test_another_film_of_the_study_is_explained_when_it_is_named(known: Known, tmp_path: Path) -> None:
    path = tmp_path / "why.png"
    known.site.run("show", known.study, "--explain", path, "--image", known.other, "--method", "grad-cam")
    words = words_of(path)
    assert (words["SOP Instance UID"], words["Method"]) == (known.other, "Grad-CAM")


def test_a_film_that_nobody_has_judged_yet_is_decoded_and_explained(tmp_path: Path) -> None:
    ds = chest_film(0.5, AccessionNumber="ACC-3", **PATIENT)
    with new_site() as site:
        with site.running("listen") as listener:
            push([ds], listener.port)
        assert site.query("SELECT count(*) AS n FROM result_history") == [{"n": 0}]
        site.run("show", "ACC-3", "--explain", tmp_path / "why.png")
    assert words_of(tmp_path / "why.png")["SOP Instance UID"] == ds.SOPInstanceUID


def test_a_picture_file_is_explained_on_the_spot(tmp_path: Path) -> None:
    pixels = (chest_film(0.9).pixel_array >> 4).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "Wilhelmine.png")
    with new_site() as site:
        (answer,) = site.json("classify", tmp_path / "Wilhelmine.png", "--explain", tmp_path / "why.png")
    words = words_of(tmp_path / "why.png")
    assert (words["Label"], words["Logit"]) == (answer["label"], f"{answer['logit']:+.2f}")
    assert "Wilhelmine" not in " ".join(words.values())


@pytest.fixture(scope="module")
def with_terms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundle ``hand-1``, whose network was exported with the terms of its answer."""
    folder = tmp_path_factory.mktemp("models")
    bundle = bundle_by_hand(folder / "hand-1")
    written(mobile(1), bundle)
    write_manifest(bundle, manifest_by_hand(input_size=SIDE))
    return folder


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' variables under NumPy 2
@pytest.mark.parametrize("method", ["hirescam", "grad-cam"])
def test_a_bundle_with_terms_is_explained_where_tensorflow_is_not_installed(
    with_terms: Path, tmp_path: Path, method: str
) -> None:
    for name in ("tensorflow", "keras"):
        (tmp_path / f"{name}.py").write_text("raise ImportError", encoding="utf-8")
    Image.fromarray((chest_film(0.9).pixel_array >> 4).astype(np.uint8)).save(tmp_path / "film.png")
    film, picture = tmp_path / "film.png", tmp_path / "why.png"
    with new_site(models_dir=str(with_terms)) as home:
        site = Site(home.home, {**home.env, "PYTHONPATH": str(tmp_path)})
        explain = ("classify", film, "--explain", picture, "--method", method)
        (answer,) = site.json(*explain, "--model", "hand-1")
        words = words_of(picture)
        refused = site.run(*explain, "--model", "notebook-1", check=None)
    assert (words["Model"], words["Logit"]) == ("hand-1", f"{answer['logit']:+.2f}")
    assert refused.returncode
    assert "install auscult with the extra cpu or gpu" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["show", "ACC-2"], "there is nothing to explain: LATERAL_VIEW"),
        (["show", "ACC-1", "--image", "1.2.3"], "no film 1.2.3 in study ACC-1"),
        (["show", "ACC-9"], "no study matches ACC-9"),
        (["show", "ACC-1", "--model", "nobody-1"], "there is no model 'nobody-1'"),
        (["classify", __file__, __file__], "--explain explains one file, and here are 2"),
    ],
    ids=["refused", "no such film", "no such study", "no such model", "two files"],
)
def test_what_cannot_be_explained_is_said_in_one_sentence_and_leaves_no_picture(
    known: Known, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    done = known.site.run(*arguments, "--explain", tmp_path / "why.png", check=2)
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_cannot_be_written_is_refused_before_any_work(known: Known, tmp_path: Path) -> None:
    done = known.site.run("show", "ACC-1", "--explain", tmp_path / "why.jpg", check=2)
    assert "--explain writes a PNG picture: call it why.png" in done.stderr
    done = known.site.run("show", "ACC-1", "--explain", tmp_path / "none" / "why.png", check=2)
    assert f"the folder {tmp_path / 'none'} does not exist" in done.stderr


def test_another_network_under_the_name_of_the_one_that_judged_explains_nothing(known: Known, tmp_path: Path) -> None:
    connection = sqlite3.connect(known.site.home / "auscult.db")
    ((weights,),) = connection.execute("SELECT weights_sha256 FROM model")
    try:
        connection.execute("UPDATE model SET weights_sha256 = ?", ["0" * 64])
        connection.commit()
        done = known.site.run("show", "ACC-1", "--explain", tmp_path / "why.png", check=2)
    finally:
        connection.execute("UPDATE model SET weights_sha256 = ?", [weights])
        connection.commit()
        connection.close()
    assert "is not the network that gave the film its result" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_film_that_is_gone_with_its_original_is_said_to_be_gone(known: Known, tmp_path: Path) -> None:
    copy = tmp_path / "home"
    shutil.copytree(known.site.home, copy, ignore=shutil.ignore_patterns("*.sock"))
    shutil.rmtree(copy / "store")
    shutil.rmtree(copy / "films")
    done = Site(copy, known.site.env).run("show", "ACC-1", "--explain", tmp_path / "why.png", check=2)
    assert f"the film {known.decisive} cannot be explained: neither it nor its original is on disk" in done.stderr
