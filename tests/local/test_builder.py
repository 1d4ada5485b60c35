"""The local builder: a genuine OCI image from a Dockerfile, without any engine."""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path

import pytest

from fearless import oci
from fearless.dockerfile import DockerfileError
from fearless.errors import FearlessError
from fearless.interfaces import BuildContext, Image
from fearless.local.builder import LocalBuilder
from fearless.oci import Layout
from fearless.testing.fakes import SilentReport
from tests import images

DOCKERFILE = f"""
FROM python:{images.VERSION}-slim
LABEL team="shop keepers"
ENV PYTHONUNBUFFERED=1 GREETING="hello world"
WORKDIR /app
COPY wheels wheels
COPY requirements.txt .
RUN pip install --no-cache-dir --no-index --find-links wheels -r requirements.txt
RUN useradd -m app && mkdir -p /data
COPY --chown=app . .
USER 1000
EXPOSE 8080
HEALTHCHECK --interval=5s --retries=2 CMD ["python", "-c", "1"]
STOPSIGNAL SIGINT
VOLUME /data
CMD ["python", "-m", "shop"]
"""

APP: dict[str, str | bytes] = {
    "Dockerfile": DOCKERFILE,
    ".dockerignore": "*.md\n",
    "README.md": "not in the image",
    "requirements.txt": "greeter==1.0\n",
    "shop/__main__.py": "import greeter; print(greeter.hello())\n",
    "bin/tool": "#!/bin/sh\n",
    "wheels/greeter-1.0-py3-none-any.whl": images.wheel(
        "greeter",
        {"greeter.py": "def hello():\n    print('hello')\n"},
        {"greet": "greeter:hello"},
    ),
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "fearless" / "layers"


@pytest.fixture
def builder(tmp_path: Path) -> LocalBuilder:
    return LocalBuilder(images.FakeProject(tmp_path / "project"))  # type: ignore[arg-type]


def app(tmp_path: Path, **changed: str) -> BuildContext:
    return images.context(tmp_path / "context", APP | changed)


def simple(tmp_path: Path, *lines: str, **files: str) -> BuildContext:
    dockerfile = "\n".join([f"FROM python:{images.VERSION}", *lines])
    return images.context(tmp_path / "context", {"Dockerfile": dockerfile, **files})


def layout_of(image: Image) -> Layout:
    return Layout(Path(image.source.removeprefix("oci:")))


def files_of(image: Image) -> dict[str, tarfile.TarInfo]:
    layout = layout_of(image)
    found = {}
    for blob in layout.manifest(image.digest).layers:
        with tarfile.open(layout.path(blob.digest)) as tar:
            found |= {member.name: member for member in tar}
    return found


def test_the_image_is_genuine(builder: LocalBuilder, tmp_path: Path, report: SilentReport) -> None:
    release = images.release()
    image = builder.build(release, app(tmp_path), report)
    layout = layout_of(image)
    assert layout.root == tmp_path / "project/.fearless/build" / release.sha / "image"
    manifest = layout.verify(image.digest)
    assert (image.repository, image.tag) == ("shop", release.sha)
    assert layout.tags()[release.sha].digest == image.digest
    assert manifest.config.digest == image.image_id

    config = layout.config(image.digest)
    assert config["os"] == "linux"
    assert config["rootfs"]["diff_ids"] == [layer.digest for layer in manifest.layers]
    filled = [entry for entry in config["history"] if not entry.get("empty_layer")]
    assert len(filled) == len(manifest.layers)
    assert {entry["created"] for entry in config["history"]} == {"1970-01-01T00:00:00Z"}

    settings = config["config"]
    assert "GREETING=hello world" in settings["Env"]
    assert settings["WorkingDir"] == "/app"
    assert settings["User"] == "1000"
    assert settings["ExposedPorts"] == {"8080/tcp": {}}
    assert settings["Volumes"] == {"/data": {}}
    assert settings["StopSignal"] == "SIGINT"
    assert settings["Cmd"] == ["python", "-m", "shop"]
    check = {"Test": ["CMD", "python", "-c", "1"], "Interval": 5 * 10**9, "Retries": 2}
    assert settings["Healthcheck"] == check
    labels = settings["Labels"]
    assert labels["team"] == "shop keepers"
    assert labels["org.opencontainers.image.revision"] == release.sha
    assert labels["org.opencontainers.image.version"] == release.name
    assert labels["org.opencontainers.image.base.name"] == f"python:{images.VERSION}-slim"
    assert labels["fearless:sha"] == release.sha


def test_the_files_are_those_of_the_dockerfile(
    builder: LocalBuilder, tmp_path: Path, report: SilentReport
) -> None:
    found = files_of(builder.build(images.release(), app(tmp_path), report))
    site = f"usr/local/lib/python{images.VERSION}/site-packages"
    assert {"app/shop/__main__.py", "app/requirements.txt", "data"} <= found.keys()
    assert {f"{site}/greeter.py", "usr/local/bin/greet"} <= found.keys()
    assert "app/README.md" not in found
    assert not [name for name in found if "pyvenv" in name or name.endswith((".pyc", "bin/python"))]
    assert found["app/bin/tool"].mode == 0o755
    assert found["app/requirements.txt"].mode == 0o644
    assert {(m.uid, m.gid, m.mtime) for m in found.values()} == {(0, 0, 0)}


def test_nothing_of_this_machine_is_in_the_image(
    builder: LocalBuilder, tmp_path: Path, report: SilentReport
) -> None:
    image = builder.build(images.release(), app(tmp_path), report)
    layout = layout_of(image)
    for path in (layout.root / "blobs/sha256").iterdir():
        assert str(tmp_path).encode() not in path.read_bytes()
        assert sys.prefix.encode() not in path.read_bytes()
    with tarfile.open(layout.path(layout.manifest(image.digest).layers[3].digest)) as tar:
        stream = tar.extractfile("usr/local/bin/greet")
        assert stream is not None
        first = stream.readline()
    assert first == f"#!/usr/local/bin/python{images.VERSION}\n".encode()


def test_equal_contexts_are_equal_digests(
    builder: LocalBuilder, tmp_path: Path, cache: Path, report: SilentReport
) -> None:
    first = builder.build(images.release(), app(tmp_path), report)
    (cached,) = cache.glob("*/*.tar")
    cached.unlink()
    elsewhere = LocalBuilder(images.FakeProject(tmp_path / "another project"))  # type: ignore[arg-type]
    assert elsewhere.build(images.release(), app(tmp_path), report).digest == first.digest
    assert builder.build(images.release(), app(tmp_path), report).digest == first.digest
    other = builder.build(images.release("b" * 40), app(tmp_path), report)
    assert other.digest != first.digest


def test_pip_runs_again_only_when_its_inputs_change(
    builder: LocalBuilder, tmp_path: Path, cache: Path, report: SilentReport
) -> None:
    builder.build(images.release(), app(tmp_path), report)
    builder.build(images.release("b" * 40), app(tmp_path, **{"shop/x.py": "y = 1"}), report)
    assert sum("from the cache" in line for line in report.lines) == 1
    builder.build(images.release(), app(tmp_path, **{"requirements.txt": "greeter\n"}), report)
    assert len(list(cache.glob("*/*.tar"))) == 2


def test_a_damaged_cached_layer_is_made_anew(
    builder: LocalBuilder, tmp_path: Path, cache: Path, report: SilentReport
) -> None:
    first = builder.build(images.release(), app(tmp_path), report)
    (cached,) = cache.glob("*/*.tar")
    cached.write_bytes(b"rubbish")
    assert builder.build(images.release(), app(tmp_path), report).digest == first.digest


def test_a_failing_pip_is_one_line_with_the_log(
    builder: LocalBuilder, tmp_path: Path, report: SilentReport
) -> None:
    with pytest.raises(DockerfileError) as caught:
        builder.build(
            images.release(), app(tmp_path, **{"requirements.txt": "nosuch==9\n"}), report
        )
    message = str(caught.value)
    assert message.startswith("error: Dockerfile:8: pip install")
    assert "nosuch==9" in message
    assert "\n" not in message
    log = message.rpartition("(its output is in ")[2].rstrip(")")
    assert "nosuch" in Path(log).read_text()
    assert not list((tmp_path / "project/.fearless/build").glob("*/.work-*"))


BASE = f"FROM python:{images.VERSION}\n"


@pytest.mark.parametrize(
    ("dockerfile", "line", "what"),
    [
        ("FROM node:20\n", 1, "its base must be a python:"),
        ("FROM python:3\n", 1, "its base must be a python:"),
        (f"{BASE}FROM python:{images.VERSION}\n", 2, "one stage only"),
        (f"{BASE}\nRUN apt-get update\n", 3, "of `apt-get` it knows nothing"),
        (f"{BASE}RUN pip install x | tee log\n", 2, r"no shell for `\|`"),
        (f"{BASE}RUN echo $(id)\n", 2, r"no shell for `\$\(`"),
        (f"{BASE}RUN pip install --user x\n", 2, "without `--user`"),
        (f"{BASE}RUN <<EOF\nx\nEOF\n", 2, "here-documents"),
        (f"{BASE}RUN --mount=type=secret,id=x pip install x\n", 2, "--mount=type=secret"),
        (f"{BASE}COPY --from=other /a /b\n", 2, "--from=other"),
        (f"{BASE}ADD https://example.org/x /x\n", 2, "downloads nothing"),
        (f"{BASE}ADD x.tar.gz /x\n", 2, "unpacks no archives"),
        (f'{BASE}SHELL ["bash"]\n', 2, "it has no SHELL"),
        (f"{BASE}ONBUILD RUN x\n", 2, "it has no ONBUILD"),
    ],
)
def test_what_needs_an_engine_is_refused_before_anything_is_done(
    builder: LocalBuilder, tmp_path: Path, report: SilentReport,
    dockerfile: str, line: int, what: str,
) -> None:  # fmt: skip
    with pytest.raises(DockerfileError, match=what) as caught:
        builder.build(
            images.release(),
            images.context(tmp_path / "context", {"Dockerfile": dockerfile}),
            report,
        )
    message = str(caught.value)
    assert message.startswith(f"error: Dockerfile:{line}: the local builder cannot do `")
    assert '[container] use = "docker"' in message
    assert not (tmp_path / "project/.fearless/build" / images.SHA / "image").exists()


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("COPY nothing /x", "Dockerfile:2: COPY nothing: not in the build context"),
        ("COPY a", "Dockerfile:2: COPY needs a source and a destination"),
        ("COPY a b /x", "must end with /"),
        ("EXPOSE eighty", "not a port"),
        ("STOPSIGNAL SIGNOTHING", "not a signal"),
        ("HEALTHCHECK python x", "HEALTHCHECK needs CMD"),
        ("HEALTHCHECK --interval=soon CMD x", "not a duration"),
        ("ENV A", "not KEY=VALUE"),
        ("RUN chmod +x nothing", "no such file"),
        ("WORKDIR ${A", "not understood"),
    ],
)
def test_mistakes_name_the_line(
    builder: LocalBuilder, tmp_path: Path, report: SilentReport, line: str, what: str
) -> None:
    with pytest.raises(DockerfileError, match=what) as caught:
        builder.build(images.release(), simple(tmp_path, line, a="1", b="2"), report)
    assert "Dockerfile:2" in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["COPY a /x/"], {"x/a"}),
        (["COPY a /x"], {"x"}),
        (["WORKDIR /app", "COPY a ."], {"app/a"}),
        (["WORKDIR /app", "COPY a /app"], {"app/a"}),
        (["WORKDIR /app", "WORKDIR sub", "COPY a b"], {"app/sub/b"}),
        (["COPY d /x"], {"x/1.py", "x/sub/2.py"}),
        (["COPY d/ /x/"], {"x/1.py", "x/sub/2.py"}),
        (["COPY d/*.py /x/"], {"x/1.py"}),
        (["COPY a d/1.py /x/"], {"x/a", "x/1.py"}),
        (['COPY ["a", "/with space/"]'], {"with space/a"}),
        (["ARG WHERE=there", "COPY a /$WHERE"], {"there"}),
        (["ADD a /x"], {"x"}),
    ],
)
def test_copy(
    builder: LocalBuilder, tmp_path: Path, report: SilentReport,
    lines: list[str], expected: set[str],
) -> None:  # fmt: skip
    context = simple(tmp_path, *lines, a="1", **{"d/1.py": "", "d/sub/2.py": ""})
    found = files_of(builder.build(images.release(), context, report))
    assert {name for name, member in found.items() if member.isfile()} == expected


def test_modes(builder: LocalBuilder, tmp_path: Path, report: SilentReport) -> None:
    lines = ["COPY --chmod=600 a /a", "COPY b /b", "RUN chmod +x /b && chmod 640 /a"]
    found = files_of(
        builder.build(images.release(), simple(tmp_path, *lines, a="1", b="2"), report)
    )
    assert (found["a"].mode, found["b"].mode) == (0o640, 0o755)


def test_arguments_and_another_dockerfile(tmp_path: Path, report: SilentReport) -> None:
    project = images.FakeProject(tmp_path / "project")
    builder = LocalBuilder(project, "build/Prod", {"V": images.VERSION, "NAME": "given"})  # type: ignore[arg-type]
    arguments = "ARG NAME=default\nARG OTHER=default\n"
    text = f"ARG V=3.0\nFROM python:$V\n{arguments}ENV A=$NAME B=$OTHER C=$V\n"
    context = images.context(tmp_path, {"build/Prod": text})
    image = builder.build(images.release(), context, report)
    settings = layout_of(image).config(image.digest)["config"]
    assert {"A=given", "B=default", "C="} <= set(settings["Env"])


def test_entrypoint_drops_the_bases_command(
    builder: LocalBuilder, tmp_path: Path, report: SilentReport
) -> None:
    image = builder.build(images.release(), simple(tmp_path, "ENTRYPOINT serve --all"), report)
    settings = layout_of(image).config(image.digest)["config"]
    assert settings["Entrypoint"] == ["/bin/sh", "-c", "serve --all"]
    assert "Cmd" not in settings


def test_another_python_stands_in_and_says_so(
    builder: LocalBuilder, tmp_path: Path, report: SilentReport
) -> None:
    context = images.context(tmp_path, {"Dockerfile": "FROM python:3.1-slim\nCOPY . /app\n"})
    builder.build(images.release(), context, report)
    (note,) = [line for line in report.lines if line.startswith("note:")]
    assert "wants python:3.1-slim" in note
    assert f"this machine's is {images.VERSION}" in note


def test_a_missing_dockerfile(builder: LocalBuilder, tmp_path: Path, report: SilentReport) -> None:
    with pytest.raises(FearlessError, match="no Dockerfile in the build context"):
        builder.build(images.release(), images.context(tmp_path, {"a": ""}), report)


def test_the_layout_reads_as_json(
    builder: LocalBuilder, tmp_path: Path, report: SilentReport
) -> None:
    image = builder.build(images.release(), simple(tmp_path), report)
    index = json.loads((layout_of(image).root / "index.json").read_text())
    assert index["manifests"][0]["mediaType"] == oci.MANIFEST
