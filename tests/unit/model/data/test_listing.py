from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from model.data.dataset import Picture, load_films, scan_folder, split_by_patient
from model.data.listing import is_blinded_by_list, read_listing, scan
from model.errors import DataError
from model.labels import Label
from tests.support.helpers_bundle import drawn_folder

if TYPE_CHECKING:
    from pathlib import Path


def listing(folder: Path, text: str, *, files: tuple[str, ...] = ("a.dcm", "b.dcm"), encoding: str = "utf-8") -> Path:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    (folder / "films.csv").write_bytes(text.encode(encoding))
    return folder / "films.csv"


def test_a_line_gives_a_picture_with_its_patient_and_subgroups(tmp_path):
    found = read_listing(
        listing(tmp_path, "path,label,patient,scanner,sex\na.dcm,NORMAL,p1,A,F\nb.dcm,PNEUMONIA,p2,B,M\n")
    )
    assert found == (
        Picture(tmp_path / "a.dcm", Label.NORMAL, "NORMAL", "p1", (("scanner", "A"), ("sex", "F"))),
        Picture(tmp_path / "b.dcm", Label.PNEUMONIA, "PNEUMONIA", "p2", (("scanner", "B"), ("sex", "M"))),
    )
    assert len(set(found)) == 2


def test_a_child_with_films_of_both_labels_is_one_child(tmp_path):
    found = read_listing(listing(tmp_path, "path,label,patient\na.dcm,NORMAL,p1\nb.dcm,PNEUMONIA,p1\n"))
    assert {(picture.kind, picture.patient) for picture in found} == {("NORMAL+PNEUMONIA", "p1")}


def test_without_a_patient_column_names_tell_the_child_or_else_each_film_is_one(tmp_path):
    files = ("IM-0115-0001.jpeg", "IM-0115-0002.jpeg", "x/film.dcm", "y/film.dcm")
    rows = "".join(f"{name},normal\n" for name in files)
    found = read_listing(listing(tmp_path, f"path,label\n{rows}", files=files))
    assert [(picture.kind, picture.patient) for picture in found] == [
        ("IM", "0115"),
        ("IM", "0115"),
        ("NORMAL", "x/film.dcm"),
        ("NORMAL", "y/film.dcm"),
    ]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("path,label\na.dcm,NORMAL\nb.dcm,PNEUMONIA\n", "utf-8-sig"),
        ("path,label\r\na.dcm,NORMAL\r\nb.dcm,PNEUMONIA\r\n", "utf-8"),
        ('"path","label"\n"a.dcm","NORMAL"\n"b.dcm","PNEUMONIA"', "utf-8"),
        ("Path , LABEL\n a.dcm , Normal \n\n,\nb.dcm,pneumonia\n", "utf-8"),
        ("path;label;ward\na.dcm;NORMAL;Säuglinge\nb.dcm;PNEUMONIA;Säuglinge\n", "cp1252"),
    ],
    ids=["byte order mark", "CRLF", "quotes", "spaces, capitals and empty lines", "a spreadsheet's own coding"],
)
def test_what_spreadsheets_write_is_read(tmp_path, text, encoding):
    found = read_listing(listing(tmp_path, text, encoding=encoding))
    assert [(picture.path.name, picture.label) for picture in found] == [
        ("a.dcm", Label.NORMAL),
        ("b.dcm", Label.PNEUMONIA),
    ]


def test_a_path_may_hold_commas_quotes_and_a_line_end(tmp_path):
    name = 'a, "b"\nc.dcm'
    found = read_listing(listing(tmp_path, 'path,label\n"a, ""b""\nc.dcm",NORMAL\n', files=(name,)))
    assert found[0].path == tmp_path / name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: it must name the columns path and label"),
        ("a.dcm,NORMAL\n", "line 1: it must name the columns path and label"),
        ("path,label,x,x\na.dcm,NORMAL,1,2\n", "line 1: every column needs a name of its own"),
        ("path,label,\na.dcm,NORMAL,1\n", "line 1: every column needs a name of its own"),
        ("path,label\n", "lists no film"),
        ("path,label\na.dcm,NORMAL\nb.dcm,ILL\n", "line 3: the label must be NORMAL or PNEUMONIA"),
        ("path,label\na.dcm,\n", "line 2: the label must be NORMAL or PNEUMONIA"),
        ("path,label\na.dcm,NORMAL\n\nc.dcm,NORMAL\n", "line 4: there is no such file"),
        ("path,label\n,NORMAL\n", "line 2: there is no such file"),
        (f"path,label\n{'x' * 5000},NORMAL\n", "line 2: there is no such file"),
        ("path,label\na.dcm,NORMAL\n./a.dcm,NORMAL\n", "line 3: line 2 names the same film"),
        ("path,label\na.dcm,NORMAL,1\n", "line 2: there are 2 columns, but 3 cells"),
        ("path,label,patient\na.dcm,NORMAL\n", "line 2: there are 3 columns, but 2 cells"),
        ("path,label,patient\na.dcm,NORMAL,p1\nb.dcm,NORMAL, \n", "line 3: the patient is missing"),
        ('path,label\na.dcm,NORMAL\n"b.dcm,NORMAL\n', "line 3: a quotation mark"),
        ('path,label\n"a".dcm,NORMAL\n', "line 2: a quotation mark"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, text, message):
    with pytest.raises(DataError, match=rf"films\.csv.*{message}"):
        read_listing(listing(tmp_path, text))


def test_the_line_of_an_error_counts_the_line_ends_in_cells(tmp_path):
    with pytest.raises(DataError, match="line 4: the label"):
        read_listing(listing(tmp_path, 'path,label,note\na.dcm,NORMAL,"two\nlines"\nb.dcm,ILL,\n'))


def test_no_cell_is_quoted_in_an_error(tmp_path):
    for text in ("path,label\na.dcm,Doe^Jane\n", "path,label\nDoe^Jane.dcm,NORMAL\n"):
        with pytest.raises(DataError) as caught:
            read_listing(listing(tmp_path, text))
        assert "Doe" not in str(caught.value)


def test_a_folder_and_a_listing_of_it_give_the_same_films_and_the_same_split(tmp_path):
    folder = drawn_folder(tmp_path / "films", patients=8)
    pictures = scan_folder(folder)
    rows = "".join(f"{picture.path.relative_to(tmp_path)},{picture.label}\n" for picture in reversed(pictures))
    listed = scan(listing(tmp_path, f"path,label\n{rows}", files=()))
    assert listed == scan(folder) == pictures
    assert split_by_patient(listed, 0.3, seed=1).digest == split_by_patient(pictures, 0.3, seed=1).digest
    assert len(load_films(listed, 16)) == len(pictures)


def test_neither_folder_nor_listing_is_refused(tmp_path):
    with pytest.raises(DataError, match="absent cannot be read"):
        scan(tmp_path / "absent")


def test_a_list_may_vouch_that_labels_were_given_without_sight_of_the_answer(tmp_path):
    vouched = listing(tmp_path, "path,label,Blinded\na.dcm,NORMAL,yes\nb.dcm,PNEUMONIA,YES\n")
    assert is_blinded_by_list(read_listing(vouched))
    assert not is_blinded_by_list(read_listing(listing(tmp_path, "path,label\na.dcm,NORMAL\nb.dcm,PNEUMONIA\n")))


@pytest.mark.parametrize(
    ("cell", "message"), [("no", r"labels of 1 of 2 films were given with.*leave"), ("", "yes or no; of 1 films")]
)
def test_a_label_given_with_the_answer_in_sight_is_refused(tmp_path, cell, message):
    pictures = read_listing(listing(tmp_path, f"path,label,blinded\na.dcm,NORMAL,yes\nb.dcm,PNEUMONIA,{cell}\n"))
    with pytest.raises(DataError, match=message):
        is_blinded_by_list(pictures)
