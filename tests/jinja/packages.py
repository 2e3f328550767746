"""Real chat templates out of packages, in versions that are pinned. usage: packages.py FOLDER

Leaves FOLDER/PACKAGE/NAME.jinja. Their texts stay out of this repository: licences differ.
"""
import pathlib
import subprocess
import sys
import tarfile
import zipfile

PACKAGES = {
    "axolotl": (["axolotl==0.19.0", "--only-binary", "axolotl"], "axolotl-0.19.0-py3-none-any.whl", "/chat_templates/templates/"),
    "llama-cpp-python": (["llama-cpp-python==0.3.36", "--no-binary", "llama-cpp-python"], "llama_cpp_python-0.3.36.tar.gz", "/models/templates/"),
}


def members(archive):
    """Name and bytes of each file of a wheel or a source distribution."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            yield from ((name, wheel.read(name)) for name in wheel.namelist())
    else:
        with tarfile.open(archive) as source:
            yield from ((one.name, source.extractfile(one).read()) for one in source if one.isfile() and one.name.endswith(".jinja"))


def main(folder):
    for package, (wanted, file, place) in PACKAGES.items():
        into = folder / package
        if into.is_dir(): continue
        print(f"download {wanted[0]}", flush=True)
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", folder, *wanted], check=True)
        found = [(pathlib.PurePath(name).name, data) for name, data in members(folder / file) if place in name and name.endswith(".jinja")]
        into.mkdir()
        for name, data in found: (into / name).write_bytes(data)
        (folder / file).unlink()


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
