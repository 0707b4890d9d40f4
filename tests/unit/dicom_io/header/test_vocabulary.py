"""The table of words: the same languages for parts and views, and the meaning of real descriptions."""

from __future__ import annotations

import random
import re
from itertools import pairwise

import pytest

from dicom_io.header.terms import Region, View, region_of_body_part, region_of_description, view_of_words
from dicom_io.header.vocabulary import Meaning, fold, fold_keeping_digits, meanings, table
from tests.support.documents import ROOT

LANGUAGES = sorted(set(table()) - {"common"})
M = Meaning
#: Of these no word may mean two.
EXCLUSIVE = [{M.CHEST, M.OTHER}, {M.CHEST, M.ALONE}, {M.OTHER, M.ALONE}, {M.LATERAL, M.OTHER}, {M.FRONTAL, M.OTHER}]
#: Phrases that name both views on purpose.
BOTH_VIEWS = {"PA_L", "AP_L", "PA_AND_L", "AP_AND_L", "FRONT_SIDE", "FRONT_SIDA", "FRONT_OG_SIDE", "FRONT_OCH_SIDA"}
BOTH_VIEWS |= {"正侧", "正側", "正及侧", "正及側", "正和侧", "正和側", "*정측*"}

LATERAL = [
    *("CHEST LAT", "Chest left lateral", "CXR L LAT", "CHESTLAT", "Chest_Lateral_L", "X-table lateral", "CHEST LTLAT"),
    *("Thorax seitl. links", "ThoraxLat", "Lungen seitlich", "Thorax im Liegen, Seitenaufnahme"),
    *("Thorax profil G", "Poumons de profil", "Radio pulmonaire de côté", "Thorax LL", "Torace L-L", "Torace profilo"),
    *("RX TÓRAX PERFIL", "Tórax lateral izq.", "Tórax em perfil", "Torax perfil", "Torace latero-laterale"),
    *("Thorax dwars", "Thorax zijdelings", "Thorax sidobild", "Lungor sida", "Thorax side", "Lunger, sidebilde"),
    *("Keuhkot sivukuva", "Rindkere külgülesvõte", "Krūšu kurvis sānu", "Krūtinės ląsta šoninė"),
    *("RTG klatki piersiowej boczne", "Kl. p. bok", "Hrudník bočně", "Hrudník bočná", "Mellkas oldalirányú"),
    *("Grudni koš bočna", "Prsni koš stransko", "грудни кош бочна", "Гръден кош профил", "Torace - profil"),
    *("ОГК боковая", "Рентген лёгких в левой боковой проекции", "ОГП бокова", "Легені, бічна проекція"),
    *("Α/Α θώρακος πλάγια", "Akciğer yan", "FOTO TORAKS SAMPING", "Dada lateral", "Tim phổi nghiêng"),
    *("胸部侧位", "胸部左側位", "胸片侧位片", "胸部側面", "胸部 側面像", "흉부 측면", "ทรวงอก ด้านข้าง", "छाती पार्श्व"),
    *("الصدر جانبي", "صدر جانبية", "قفسه سینه نیم‌رخ", "צילום חזה צדדי"),
]
OBLIQUE = [
    *("Chest LPO", "AP oblique", "Thorax schräg", "Tórax oblicua", "Torace obliquo", "Thorax schuin", "Klatka skośne"),
    *("ОГК косая", "胸部斜位", "Θώρακος λοξή", "Thorax snedbild", "Ngực chếch", "الصدر مائل"),
]
NEITHER = [
    *("Chest PA and lateral", "AP/LAT", "Chest PA/L", "Thorax p.a./lat.", "Thorax face + profil", "Tórax PA y lateral"),
    *(
        "Tórax PA e perfil",
        "Thorax front og side",
        "ОГК прямая и боковая",
        "胸部正侧位",
        "胸部正、侧位片",
        "胸部正側2方向",
    ),
    *(
        "흉부 정측면",
        "Ngực thẳng, nghiêng",
        "Keuhkot etu ja sivu",
        "Klatka PA + bok",
        "Thorax 2 Ebenen",
        "Chest 2 views",
    ),
    *("left lateral decubitus", "Decúbito lateral derecho", "Seitenlage links", "左侧卧位", "胸部側臥位", "на боку"),
    *(
        "bilateral",
        "contralateral",
        "laterality R",
        "latissimus",
        "left side",
        "双侧肺",
        "right",
        "collateral",
        "palate",
    ),
]
FRONTAL = [
    *("Chest PA", "AP portable, left side down", "bilateral lungs AP", "Thorax de face", "Tórax PA de pie", "P.A."),
    *(
        "AP decúbito supino",
        "胸部正位",
        "胸部PA",
        "PA胸部",
        "흉부 정면",
        "ОГК прямая",
        "Torace AP in piedi",
        "胸部 正面",
    ),
]
CHEST = [
    *("PECHO", "POITRINE", "BORSTKAS", "PCXR", "PORTCHEST", "CHESTXRAY", "NGUC", "DADA", "PETTO", "PEITO", "ОГП"),
    *("CHEST1VIEW", "CXRPORT", "DXCHEST", "PEDSCHEST", "CHEST_2V", "THORAX FACE", "THORAXLAT", "CHEST PQR", "TORAXPA"),
    *("Bröstkorg", "BRYSTKASSE", "Rintakehä", "MELLKAS", "GRUDNI KOS", "грудни кош", "гръден кош", "ГРУДНАЯ КЛЕТКА"),
    *(
        "Krūtinės ląsta",
        "KRUSU KURVIS",
        "RINDKERE",
        "Lồng ngực",
        "PHỔI",
        "PARU-PARU",
        "ทรวงอก",
        "छाती",
        "سینه",
        "ריאות",
    ),
    *("THORACIQUE", "TORACICO", "胸", "肺野", "가슴"),
]
OTHER = [
    *("THORACIC SPINE", "Columna torácica", "Colonne thoracique", "COT SONG NGUC", "胸腰椎", "흉추", "Rippenthorax"),
    *("CHESTABDPELVIS", "KNEEAP", "HANDLAT", "Fußgelenk", "RODILLA", "GENOU", "JOELHO", "GINOCCHIO", "KOLANO", "POLVI"),
    *(
        "LUTUT",
        "DIZ",
        "KHOP GOI",
        "Γόνατο",
        "колено",
        "колінний суглоб",
        "膝関節",
        "무릎",
        "ข้อเท้า",
        "घुटना",
        "ركبة",
        "ברך",
    ),
    *("WHOLE BODY", "LONG LEG", "زانو", "MAIN", "ARM", "PIE", "HEAD"),
]
NOT_SAID = ["", "XYZZY", "SMITH", "CHESTNUT", "ORCHESTRA", "TRUNK", "N/A", "PALATIN", "ROUTINE", "STANDARD 2"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_names_the_chest_other_parts_and_both_views(language: str) -> None:
    assert {M.CHEST, M.OTHER, M.FRONTAL, M.LATERAL, M.OBLIQUE} <= table()[language].keys()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_entry_means_what_its_list_says_also_among_all_other_languages(language: str) -> None:
    for meaning, entries in table()[language].items():
        for entry in entries:
            found = meanings(fold(entry))
            assert meaning in found, entry
            assert not any(pair <= found for pair in EXCLUSIVE), entry
            assert not {M.FRONTAL, M.LATERAL} <= found or entry in BOTH_VIEWS, entry


def test_the_conformance_statement_names_as_many_languages_as_the_table_has() -> None:
    text = (ROOT / "CONFORMANCE.md").read_text(encoding="utf-8")
    named = text.partition("languages\nfor both: ")[2].partition(". Case, accents")[0]
    assert len(re.sub(r"\(.*?\)", "", named).split(",")) == len(LANGUAGES)


def test_no_language_says_the_same_twice() -> None:
    for lists in table().values():
        for entries in lists.values():
            assert all(one != two for one, two in pairwise(sorted(entries)))


@pytest.mark.parametrize("text", LATERAL + OBLIQUE)
def test_a_lateral_or_oblique_film_is_told_in_any_language(text: str) -> None:
    assert view_of_words(text) is View.LATERAL


@pytest.mark.parametrize("text", NEITHER)
def test_what_names_both_views_or_only_a_side_names_no_view(text: str) -> None:
    assert view_of_words(text) is View.UNKNOWN


@pytest.mark.parametrize("text", FRONTAL)
def test_a_frontal_film_is_recognised_among_words_for_sides_and_postures(text: str) -> None:
    assert view_of_words(text) is View.FRONTAL


@pytest.mark.parametrize("text", CHEST)
def test_a_chest_is_told_in_any_language_and_abbreviation(text: str) -> None:
    assert region_of_body_part(text) is Region.CHEST


@pytest.mark.parametrize("text", OTHER)
def test_another_part_is_told_in_any_language(text: str) -> None:
    assert region_of_body_part(text) is Region.OTHER


@pytest.mark.parametrize("text", NOT_SAID)
def test_an_unknown_word_is_unknown(text: str) -> None:
    assert region_of_body_part(text) is Region.UNKNOWN
    assert region_of_description(text) is Region.UNKNOWN
    assert view_of_words(text) is View.UNKNOWN


@pytest.mark.parametrize(
    "text",
    ["C-arm", "back to back", "main", "dos proyecciones", "face + profil", "left hand side", "thoracic", "手术后"],
)
def test_an_ambiguous_word_is_not_evidence_in_a_description(text: str) -> None:
    assert region_of_description(text) is Region.UNKNOWN


def test_a_text_of_any_length_is_looked_up_within_bounds() -> None:
    assert view_of_words("x" * 2_000_000 + " lat") is View.UNKNOWN


def test_a_text_of_ascii_is_folded_as_the_same_text_with_a_blank_that_is_not():
    drawn = random.Random(1)
    texts = ["".join(chr(drawn.randrange(128)) for _ in range(drawn.randrange(40))) for _ in range(3000)]
    for text in ["", "CHEST_2 v.", "l'image; 10^3", *texts]:
        assert fold_keeping_digits(text) == fold_keeping_digits(f"{text}\u00a0")
        assert fold(text) == fold(f"{text}\u00a0")
