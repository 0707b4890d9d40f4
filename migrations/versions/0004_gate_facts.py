"""What the gate has learned to ask of a header; and only known words stay of modality, body part and view.

Of images that are there nobody has read the new facts: they get the value that speaks against nothing. A value that was
kept because it was written like a code may be anything, even a name in capitals, so it becomes what it means; there is
no way back from that, and none is wanted.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from dicom_io.terms import body_part_of, modality_of, view_of

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SPECIES = "'HUMAN', 'ANIMAL', ''"
DERIVATIONS = (
    "'', 'BONE', 'SOFT_TISSUE', 'SUBTRACTION', 'DUAL_ENERGY', 'TOMOGRAPHY', 'REFORMAT', 'ENHANCED', 'ANALYSIS', "
    "'OVERLAY', 'SCREENSHOT', 'DOCUMENT', 'COPY'"
)
#: Column of `image`, type with its CHECK, what it means.
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
#: What becomes of a value that is there.
MEANINGS = {"modality": modality_of, "body_part": body_part_of, "view_position": view_of}


def upgrade() -> None:
    for column, kind, meaning in COLUMNS:
        op.execute(f"ALTER TABLE image ADD COLUMN {column} {kind}")
        if op.get_bind().dialect.name == "postgresql":
            quoted = meaning.replace("'", "''")
            op.execute(f"COMMENT ON COLUMN image.{column} IS '{quoted}'")
    for column in MEANINGS:
        _keep_known_words(column)


def downgrade() -> None:
    """Go back; the facts are forgotten."""
    for column, _, _ in reversed(COLUMNS):
        op.execute(f"ALTER TABLE image DROP COLUMN {column}")


def _keep_known_words(column: str) -> None:
    """One statement for each value that is there; there are few, however many images hold them."""
    image = sa.table("image", sa.column(column))
    held = image.c[column]
    connection = op.get_bind()
    for value in connection.scalars(sa.select(held).distinct()).all():
        kept = MEANINGS[column](value)
        if kept != value:
            connection.execute(sa.update(image).where(held == value).values({column: kept}))
