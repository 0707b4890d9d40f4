"""Python imports this module at its start when its folder is on PYTHONPATH: every process of a site under test does."""

from __future__ import annotations

import importlib
import os

if "FAULTS_ORDERS" in os.environ:
    importlib.import_module("seams").install(os.environ["FAULTS_ORDERS"])
