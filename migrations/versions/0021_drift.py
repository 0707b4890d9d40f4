"""What films look like, beside each result, and the counts of each day from which drift is found.

The columns of existing results are NULL. Days before this revision are counted by the listener, a day at a time; `downgrade`
forgets them. New columns without a default and a new table: no lock is held for long on a table of any size.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op

from worker.db.schema.views import create_view, drop_view

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

VIEWS = Path(__file__).resolve().parents[1] / "views"
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
OF_RESULT = {
    "mean_grey": "mean grey of the film, 0 to 255",
    "contrast": "standard deviation of its grey",
    "dark_share": "share of its pixels of grey 8 or less",
    "bright_share": "share of its pixels of grey 247 or more",
    "sharpness": "mean difference of neighbouring pixels, in standard deviations",
}
TEXTS = {
    "manufacturer": "Manufacturer (0008,0070)",
    "device_model": "Manufacturer's Model Name (0008,1090)",
    "station_name": "Station Name (0008,1010)",
    "calling_aet": "AE title of the sender",
}
NUMBERS = {
    "n_films": "films with a result",
    "n_judged": "of these, with outcome OK",
    "n_positive": "of the judged ones, PNEUMONIA",
}
JSON = {
    "reasons": "JSON: number of films that were not judged, by reason code",
    "histograms": "JSON: films in each bin, by measure (model.drift.measures)",
}
OF_DAY = {
    "probability_p10": "a tenth of the judged films has this probability or less",
    "probability_p50": "half of the judged films have this probability or less",
    "probability_p90": "nine tenths of the judged films have this probability or less",
    "mean_grey": "mean of the films' mean grey",
    "contrast": "mean of the films' contrast",
    "dark_share": "mean of the films' share of dark pixels",
    "bright_share": "mean of the films' share of bright pixels",
    "sharpness": "mean of the films' sharpness",
    "unlikeness": "mean of the films' unlikeness",
}


def upgrade() -> None:
    for name, comment in OF_RESULT.items():
        op.add_column("result", sa.Column(name, sa.REAL(), nullable=True, comment=comment))
    op.create_table(
        "model_day",
        sa.Column("id", ID, nullable=False, comment="number of the row"),
        sa.Column("day", sa.Date(), nullable=False, comment="day in UTC on which the results were written"),
        sa.Column("source", sa.String(16), nullable=False, comment="new images, a shadow, or re-runs"),
        sa.Column("model_id", ID, nullable=False, comment="the model"),
        *(sa.Column(name, sa.String(64), nullable=False, comment=comment) for name, comment in TEXTS.items()),
        *(sa.Column(name, sa.Integer(), nullable=False, comment=comment) for name, comment in NUMBERS.items()),
        *(sa.Column(name, sa.Text(), nullable=False, comment=comment) for name, comment in JSON.items()),
        *(sa.Column(name, sa.Double(), nullable=True, comment=comment) for name, comment in OF_DAY.items()),
        sa.Column("counted_at", sa.DateTime(timezone=True), nullable=False, comment="when it was counted"),
        sa.CheckConstraint("source IN ('LIVE', 'SHADOW', 'RERUN')", name=op.f("ck_model_day_source")),
        sa.ForeignKeyConstraint(["model_id"], ["model.id"], name=op.f("fk_model_day_model_id_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_day")),
        sa.UniqueConstraint("day", "source", "model_id", *TEXTS, name="uq_model_day_device"),
        comment="the results of one model on one day for the films of one device; no row names a person",
    )
    create_view(op.get_bind(), VIEWS, "model_daily", 1)


def downgrade() -> None:
    drop_view(op.get_bind(), "model_daily")
    op.drop_table("model_day")
    for name in reversed(OF_RESULT):
        op.execute(f"ALTER TABLE result DROP COLUMN {name}")
