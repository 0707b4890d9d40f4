"""The model that the parent of workers opened: its forks use it, share its memory, and score as any other process."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.database import fresh_site
from tests.support.documents import ROOT
from worker.judging.parent import Parent, open_for_forks
from worker.judging.task_worker import Classifiers
from worker.models.active import bundle_of
from worker.settings import Settings

pytestmark = pytest.mark.integration

MODEL = "auscult-2"
#: Opens a model, and scores a film in two forks that use it and in one that opens its own; tells each one's scores, and how
#: much memory it took that it does not share, bytes.
IN_FORKS = """
import json, multiprocessing, re, sys
import numpy as np
from pathlib import Path
from worker.judging.parent import open_for_forks
from worker.settings import Settings

def own():
    return 1024 * sum(map(int, re.findall(r"Private_Dirty: +([0-9]+)", Path("/proc/self/smaps_rollup").read_text())))

def score(found, opens):
    before = own()
    used = open_for_forks(*bundle) if opens else opened
    logits = [used.score(film).logit for _ in range(3)]
    found.send((logits, own() - before))

film = np.random.default_rng(1).integers(0, 256, (300, 400), np.uint8)
bundle = Settings(home=Path(sys.argv[1])), sys.argv[2]
opened = open_for_forks(*bundle)
forks = multiprocessing.get_context("fork")
told = []
for opens in (False, False, True):
    ours, theirs = forks.Pipe()
    fork = forks.Process(target=score, args=(theirs, opens))
    fork.start()
    assert ours.poll(60)
    told.append(ours.recv())
    fork.join()
print(json.dumps({"parent": opened.score(film).logit, "forks": told}))
"""


@pytest.fixture
def site(request, tmp_path):
    yield from fresh_site(request, tmp_path, "sqlite")


def test_workers_use_the_model_that_their_parent_opened_and_open_others_themselves(site, tmp_path):
    settings = Settings(home=tmp_path)
    parent = Parent(classifier=open_for_forks(settings, MODEL))
    classifiers = Classifiers(settings, site.sessions, parent)
    assert classifiers.of(MODEL) is parent.classifier
    assert classifiers.of("auscult-1").bundle.label == "auscult-1"


@pytest.mark.parametrize("field", ["litert_sha256", "weights_sha256", "digest", "version"])
def test_a_bundle_that_is_another_one_now_is_opened_by_the_workers(tmp_path, field):
    settings = Settings(home=tmp_path)
    opened = open_for_forks(settings, MODEL)
    assert opened
    now = bundle_of(settings, MODEL)
    assert Parent(classifier=opened).classifier_of(now) is opened
    object.__setattr__(now, field, "another")
    assert Parent(classifier=opened).classifier_of(now) is None


def test_what_cannot_be_opened_before_a_fork_is_left_to_the_workers(tmp_path):
    assert open_for_forks(Settings(home=tmp_path), None) is None, "the database did not say which is active"
    assert open_for_forks(Settings(home=tmp_path), "missing-1") is None
    assert open_for_forks(Settings(home=tmp_path, engine="keras"), MODEL) is None


def test_forks_score_as_their_parent_does_and_do_not_copy_the_weights(tmp_path):
    command = [sys.executable, "-c", IN_FORKS, str(tmp_path), MODEL]
    told = json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, timeout=120, check=True).stdout)
    assert [logits for logits, _ in told["forks"]] == [[told["parent"]] * 3] * 3
    *shared, alone = [taken for _, taken in told["forks"]]
    weights = bundle_of(Settings(home=tmp_path), MODEL).litert_path.stat().st_size
    assert max(shared) < alone - 0.9 * weights
