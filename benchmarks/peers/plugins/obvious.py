"""The obvious way: what a first plug-in of Orthanc does with each stored film. Orthanc's own Python runs this file.

pydicom's ``pixel_array`` and ``apply_voi_lut``, a resize with Pillow, ``model.predict`` of Keras, one row, one commit; all
within the callback, which Orthanc waits for before it answers the C-STORE.
"""

from __future__ import annotations

import io
import json
import sqlite3

import keras
import numpy as np
import orthanc
from PIL import Image, ImageOps
from pydicom import dcmread
from pydicom.pixels.processing import apply_voi_lut

told = json.loads(orthanc.GetConfiguration())["Bench"]
network = keras.saving.load_model(told["keras"], compile=False)
database = sqlite3.connect(told["database"], check_same_thread=False)


def on_stored(dicom: orthanc.DicomInstance, _name: str) -> None:
    """Decode, judge, write a row."""
    ds = dcmread(io.BytesIO(dicom.GetInstanceData()))
    shown = apply_voi_lut(ds.pixel_array, ds).astype(np.float32)
    shown = (shown - shown.min()) / (shown.max() - shown.min())
    if ds.PhotometricInterpretation == "MONOCHROME1":
        shown = 1 - shown
    picture = Image.fromarray((shown * 255).astype(np.uint8)).resize((told["size"],) * 2, Image.Resampling.BILINEAR)
    batch = np.asarray(ImageOps.autocontrast(picture, cutoff=1), dtype=np.float32)[None, :, :, None] / 255
    logit = float(np.ravel(network.predict(batch, verbose=0))[0])
    database.execute("INSERT INTO result VALUES (?, ?)", (str(ds.SOPInstanceUID), logit))
    database.commit()


orthanc.RegisterOnStoredInstanceCallback(on_stored)
