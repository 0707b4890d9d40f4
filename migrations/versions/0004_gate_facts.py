"""New facts for the gate; of modality, body part and view only known words stay.

Images that are on record were registered without the new facts: they get the values that speak against nothing. A
modality, body part or view was kept as it was written, which may be anything, even a name in capitals. It is replaced by
what it means. `downgrade` cannot bring the old text back, and must not.

The words and the rules are those of the release that brought this revision, copied: the gate has learned words since,
and a database must hold the same rows whenever it is upgraded.
"""

from __future__ import annotations

import re
import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SPECIES = "'HUMAN', 'ANIMAL', ''"
DERIVATIONS = (
    "'', 'BONE', 'SOFT_TISSUE', 'SUBTRACTION', 'DUAL_ENERGY', 'TOMOGRAPHY', 'REFORMAT', 'ENHANCED', 'ANALYSIS', "
    "'OVERLAY', 'SCREENSHOT', 'DOCUMENT', 'COPY'"
)
#: Column of `image`, type with its CHECK, comment.
COLUMNS = (
    (
        "species",
        f"VARCHAR(16) DEFAULT '' NOT NULL CONSTRAINT ck_image_species CHECK (species IN ({SPECIES}))",
        "what the header says of the patient's species",
    ),
    (
        "derivation",
        f"VARCHAR(16) DEFAULT '' NOT NULL CONSTRAINT ck_image_derivation CHECK (derivation IN ({DERIVATIONS}))",
        "what the picture was computed into, empty for a film",
    ),
    ("is_test_object", "BOOLEAN DEFAULT false NOT NULL", "whether the header names a phantom or test pattern"),
    ("burned_in_annotation", "BOOLEAN DEFAULT false NOT NULL", "Burned In Annotation (0028,0301) YES"),
    ("polarity_in_doubt", "BOOLEAN DEFAULT false NOT NULL", "whether tags contradict each other about what is white"),
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Defined terms of Modality, retired ones included (PS3.3 C.7.3.1.1.1).
MODALITIES = _words(
    "ANN AR AS ASMT AU BDUS BI BMD CD CF CFM CP CR CS CT CTPROTOCOL DD DF DG DM DMS DOC DS DX EC ECG EEG EMG EOG EPS ES FA "
    "FID FS GM HC HD IO IOL IVOCT IVUS KER KO LEN LP LS M3D MA MG MR MS NM OAM OCT OP OPM OPR OPT OPTBSV OPTENF OPV OSS "
    "OT PA PLAN POS PR PT PX REG RESP RF RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SEG SM SMR "
    "SR SRF ST STAIN TEXTUREMAP TG US VA VF XA XAPROTOCOL XC"
)
#: Words for a plain radiograph that are not defined terms.
RADIOGRAPH_WORDS = _words("XR XRAY DR RAD RX")
#: Whole words for the chest; accents are folded away first.
CHEST_WORDS = _words(
    "CHEST CHST CXR THORAX THORACIC THX TORAX TORACE TORAKS TORACAL LUNG LUNGS LUNGE LUNGEN LUNGA LUNGOR LUNGER LONGEN "
    "PULMO PULMON PULMONES PULMAO PULMOES PULMONARY PULMONAIRE POUMON POUMONS POLMONE POLMONI PLAMAN PLUCA PLICE PARU "
    "AKCIGER GOGUS BRUSTKORB BRYSTKASSE RINTAKEHA KEUHKOT KLATKA HRUDNIK MELLKAS TUDO RIBCAGE HEMITHORAX"
)
#: The chest in scripts that do not fold to Latin letters: matched anywhere in a text.
CHEST_FRAGMENTS = (
    "胸",
    "肺",
    "흉부",
    "가슴",
    "ГРУДН",
    "ЛЕГК",
    "ЛЁГК",
    "ОГК",
    "ГРУДЕН",
    "ΘΩΡΑΚ",
    "ΠΝΕΥΜ",
    "صدر",
    "רנטגן חזה",
    "חזה",
)
#: Whole words for other parts of the body.
OTHER_WORDS = _words(
    "ABDOMEN ABD KUB PELVIS HIP HIPS KNEE KNEES HAND HANDS WRIST FOOT FEET ANKLE ELBOW SHOULDER HUMERUS FEMUR TIBIA "
    "FIBULA FOREARM FINGER FINGERS THUMB TOE TOES HEEL CALCANEUS PATELLA SKULL CRANIUM MANDIBLE SINUS SINUSES ORBITS "
    "NASAL DENTAL SPINE CSPINE TSPINE LSPINE CERVICAL LUMBAR SACRUM COCCYX SCOLIOSIS CLAVICLE SCAPULA RIB RIBS STERNUM "
    "EXTREMITY EXTREMETY BREAST NECK BONEAGE SKELETON WHOLEBODY BABYGRAM "
    "KNIE HUEFTE HUFTE BECKEN SCHULTER HANDGELENK SPRUNGGELENK FUSS SCHAEDEL SCHADEL HWS BWS LWS WIRBELSAEULE RIPPEN "
    "GENOU PIED BASSIN CHEVILLE EPAULE RACHIS CRANE POIGNET COUDE HANCHE COTES "
    "RODILLA CADERA COLUMNA HOMBRO CODO TOBILLO CRANEO MUNECA JOELHO QUADRIL COLUNA OMBRO "
    "GINOCCHIO PIEDE ANCA BACINO SPALLA GOMITO POLSO CAVIGLIA CRANIO"
)
#: What people write into a field they must fill and cannot.
EMPTY_WORDS = _words("N A UNKNOWN UNSPECIFIED UNDEFINED NONE NA NULL UNBEKANNT INCONNU DESCONOCIDO XX XXX")
FRONTAL_WORDS = _words(
    "AP PA APPA FRONTAL FRONT DV VD FACE FRENTE POSTEROANTERIOR ANTEROPOSTERIOR DORSOVENTRAL VENTRODORSAL"
)
OBLIQUE_WORDS = _words("LAO RAO LPO RPO LLO RLO LRO OBL OBLI OBLIQUE OBLIQUES OBLIQUA OBLICUA SCHRAEG SCHRAG")
LATERAL_WORDS = _words(
    "LAT LATERAL LATERALE LATERALIS LATERALLY LL RL LLAT RLAT SEITLICH PROFIL PROFILE PERFIL BOCNY BOCNI"
)
#: Lying on the side with a horizontal beam: named after the side, but the film is frontal.
DECUBITUS_WORDS = _words("DECUB DECUBITUS LLD RLD LLDECUB RLDECUB")
#: Words that are written beside a body part or a view and change neither.
BESIDE_WORDS = _words(
    "NON GRID PORTABLE MOBILE BED BEDSIDE LEFT RIGHT BOTH UPPER LOWER LARGE SMALL VIEW VIEWS XR XRAY RX SUPINE PRONE ERECT "
    "UPRIGHT SITTING STANDING SEMIERECT INSPIRATION EXPIRATION PEDIATRIC PAEDIATRIC INFANT CHILD ADULT OTHER AND"
)
PART_WORDS = CHEST_WORDS | OTHER_WORDS | EMPTY_WORDS | FRONTAL_WORDS | LATERAL_WORDS | BESIDE_WORDS
VIEW_WORDS = FRONTAL_WORDS | LATERAL_WORDS | OBLIQUE_WORDS | DECUBITUS_WORDS | CHEST_WORDS | BESIDE_WORDS


def modality_of(text: str) -> str:
    """A defined term of Modality; RG for another word for a plain radiograph, OT for any other word, "" for none."""
    if not text or text in MODALITIES:
        return text
    return "RG" if "".join(_fold(text).split()) in RADIOGRAPH_WORDS else "OT"


def body_part_of(text: str) -> str:
    """The words of a body part in capitals where all of them are known, else CHEST, OTHER or ""."""
    folded = _fold(text)
    found = _words(folded)
    if PART_WORDS.issuperset(found):
        return folded
    if found & OTHER_WORDS:
        return "OTHER"
    return "CHEST" if found & CHEST_WORDS or any(piece in folded for piece in map(_fold, CHEST_FRAGMENTS)) else "OTHER"


def view_of(text: str) -> str:
    """The words of a view in capitals where all of them are known, else FRONTAL, LATERAL or ""."""
    folded = _fold(text)
    if VIEW_WORDS.issuperset(folded.split()):
        return folded
    found = _words(folded.replace("O ANTERIOR", "OANTERIOR").replace("O POSTERIOR", "OPOSTERIOR"))
    if found & DECUBITUS_WORDS:
        return ""
    if found & LATERAL_WORDS:
        return "" if found & FRONTAL_WORDS else "LATERAL"
    if found & OBLIQUE_WORDS:
        return "LATERAL"
    return "FRONTAL" if found & FRONTAL_WORDS else ""


def _fold(text: str) -> str:
    """Capitals without accents, punctuation or digits, words separated by single blanks."""
    plain = unicodedata.normalize("NFKD", text.replace("ß", "SS").replace("ł", "l").replace("Ł", "L"))
    letters = "".join(char for char in plain if not unicodedata.combining(char)).upper()
    return " ".join(re.sub(r"[\W\d_]+", " ", letters).split())


MEANINGS = {"modality": modality_of, "body_part": body_part_of, "view_position": view_of}


def upgrade() -> None:
    for column, kind, comment in COLUMNS:
        op.execute(f"ALTER TABLE image ADD COLUMN {column} {kind}")
        if op.get_bind().dialect.name == "postgresql":
            quoted = comment.replace("'", "''")
            op.execute(f"COMMENT ON COLUMN image.{column} IS '{quoted}'")
    for column in MEANINGS:
        _keep_known_words(column)


def downgrade() -> None:
    """Drop the new columns with what they hold."""
    for column, _, _ in reversed(COLUMNS):
        op.execute(f"ALTER TABLE image DROP COLUMN {column}")


def _keep_known_words(column: str) -> None:
    """Replace each value that is there by what it means: one statement a value, of which there are few."""
    image = sa.table("image", sa.column(column))
    held = image.c[column]
    connection = op.get_bind()
    for value in connection.scalars(sa.select(held).distinct()).all():
        kept = MEANINGS[column](value)
        if kept != value:
            connection.execute(sa.update(image).where(held == value).values({column: kept}))
