#!/usr/bin/env python3
"""Compiles the kernels with NVRTC for one architecture; prints what ptxas says of each of them.

    compile.py --nvrtc libnvrtc.so.13 --ptxas ptxas --arch 87

Prints a line of JSON for each kernel. No GPU is needed. Fails if something does not compile.
"""

import argparse
import ctypes
import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOM = pathlib.Path(__file__).resolve().parent
KERNELS = ROOM / "kernels"


def options() -> list[str]:
    """What the program itself tells the compiler: one list, in src/sources.rs."""
    text = (ROOM / "src" / "sources.rs").read_text()
    listed = re.search(r"OPTIONS: \[&str; \d+\] = \[(.*?)\];", text, re.S)
    return re.findall(r'"([^"]+)"', listed.group(1))


def to_ptx(library: str, architecture: str) -> bytes:
    nvrtc = ctypes.CDLL(library)
    source = "".join(f'#include "{path.name}"\n' for path in sorted(KERNELS.glob("*.cu")))
    program = ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None)
    words = [*options(), f"--gpu-architecture=compute_{architecture}", f"--include-path={KERNELS}"]
    given = (ctypes.c_char_p * len(words))(*(word.encode() for word in words))
    failed = nvrtc.nvrtcCompileProgram(program, len(words), given)
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    said = log.value.decode().strip()
    # That an architecture is on its way out is no news.
    lines = [line for line in said.splitlines() if line and "deprecated" not in line]
    if failed or lines:
        sys.exit(f"sm_{architecture}: NVRTC:\n" + "\n".join(lines or [said]))
    nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size))
    ptx = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetPTX(program, ptx)
    return ptx.value


def assemble(ptxas: str, architecture: str, ptx: bytes) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "kernels.ptx"
        path.write_bytes(ptx)
        words = [
            ptxas,
            "-v",
            f"-arch=sm_{architecture}",
            str(path),
            "-o",
            str(path.with_suffix(".cubin")),
        ]
        run = subprocess.run(words, capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"sm_{architecture}: ptxas:\n{run.stdout}{run.stderr}")
    kernels, name = {}, None
    for line in (run.stdout + run.stderr).splitlines():
        if entry := re.search(r"Compiling entry function '(\w+)'", line):
            name = entry.group(1)
            kernels[name] = {"arch": int(architecture), "kernel": name, "shared": 0}
        if stack := re.search(
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line
        ):
            kernels[name] |= {
                "stack": int(stack.group(1)),
                "spills": int(stack.group(2)) + int(stack.group(3)),
            }
        if used := re.search(r"Used (\d+) registers", line):
            kernels[name]["registers"] = int(used.group(1))
            if shared := re.search(r"(\d+) bytes smem", line):
                kernels[name]["shared"] = int(shared.group(1))
    return list(kernels.values())


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument(
        "--nvrtc",
        required=True,
        help="libnvrtc, whose folder must be on LD_LIBRARY_PATH from 13 on",
    )
    arguments.add_argument("--ptxas", required=True)
    arguments.add_argument("--arch", required=True, help="such as 87")
    given = arguments.parse_args()
    for kernel in assemble(given.ptxas, given.arch, to_ptx(given.nvrtc, given.arch)):
        print(json.dumps(kernel))


if __name__ == "__main__":
    main()
