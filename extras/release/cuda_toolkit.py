#!/usr/bin/env python3
"""cuda_toolkit.py FOLDER: a CUDA toolkit in FOLDER that builds novic with the
feature `cuda` on Linux x86-64 without a GPU, a driver or an installed toolkit.

Compiler, headers and libraries come from NVIDIA's wheels
(cuda_requirements.txt). Programs are linked against forwarders in the place of
CUDA's libraries: small static libraries of the same functions, which open the
real library when first called. So the program starts where there is no driver
and none of these libraries; there every function says that there is no device.

A C compiler (`cc`), `ar` and `nm` must be on the path. Use it so:

  extras/release/cuda_toolkit.py target/cuda
  CUDA_HOME=$PWD/target/cuda CUDA_COMPUTE_CAP=90 \\
    PATH=$PWD/target/cuda/bin:$PATH cargo build --release --features cuda
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Library, its file at run time, and what its functions return where it is
# missing: no device, not initialised, or not initialised again.
LIBRARIES = [
    ("cuda", "libcuda.so.1", 100),
    ("cublas", "libcublas.so.13", 1),
    ("cublasLt", "libcublasLt.so.13", 1),
    ("curand", "libcurand.so.10", 101),
    ("nvrtc", "libnvrtc.so.13", 7),
]

RESOLVER = """
#include <dlfcn.h>
#include <stddef.h>

extern const char *const names[];
extern void *volatile table[];

static long missing(void) { return MISSING; }

/* Two threads that come here at once find the same. */
__attribute__((visibility("hidden"))) void *RESOLVE(unsigned index) {
    static void *volatile library;
    if (library == NULL) library = dlopen(LIBRARY, RTLD_NOW | RTLD_GLOBAL);
    void *function = library == NULL ? NULL : dlsym(library, names[index]);
    if (function == NULL) function = (void *)missing;
    table[index] = function;
    return function;
}
"""

# Every register that may hold an argument is kept while a function is looked
# for.
ENTRY = """
    .text
    .hidden {resolve}
    .type {enter}, @function
{enter}:
    pushq %rax
    pushq %rdi
    pushq %rsi
    pushq %rdx
    pushq %rcx
    pushq %r8
    pushq %r9
    subq $128, %rsp
    movups %xmm0, (%rsp)
    movups %xmm1, 16(%rsp)
    movups %xmm2, 32(%rsp)
    movups %xmm3, 48(%rsp)
    movups %xmm4, 64(%rsp)
    movups %xmm5, 80(%rsp)
    movups %xmm6, 96(%rsp)
    movups %xmm7, 112(%rsp)
    movl %r11d, %edi
    call {resolve}
    movq %rax, %r11
    movups (%rsp), %xmm0
    movups 16(%rsp), %xmm1
    movups 32(%rsp), %xmm2
    movups 48(%rsp), %xmm3
    movups 64(%rsp), %xmm4
    movups 80(%rsp), %xmm5
    movups 96(%rsp), %xmm6
    movups 112(%rsp), %xmm7
    addq $128, %rsp
    popq %r9
    popq %r8
    popq %rcx
    popq %rdx
    popq %rsi
    popq %rdi
    popq %rax
    jmp *%r11
"""

FUNCTION = """
    .globl {name}
    .type {name}, @function
{name}:
    movq {table}+{offset}(%rip), %r11
    testq %r11, %r11
    je 1f
    jmp *%r11
1:  movl ${index}, %r11d
    jmp {enter}
"""


def run(*command):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def functions(root, name, file):
    """What a library exports, by the library itself or by its header."""
    library = root / "lib" / file
    if library.exists():
        lines = run("nm", "--dynamic", "--defined-only", str(library)).splitlines()
        symbols = [line.split() for line in lines]
        return sorted({s[2].split("@")[0] for s in symbols if len(s) == 3 and s[1] in "TW"})
    header = {"cuda": "cuda.h", "nvrtc": None}[name]
    if header is None:
        return []
    text = run("cc", "-E", "-P", f"-I{root / 'include'}", str(root / "include" / header))
    return sorted(set(re.findall(r"\b(cu[A-Z]\w*)\s*\(", text)))


def forwarder(root, name, file, missing, work):
    """The static library that stands for another."""
    known = functions(root, name, file)
    if not known:
        return
    resolve, enter, table, names = (f"{part}_of_{name}" for part in
                                    ("resolve", "enter", "table", "names"))
    assembly = [ENTRY.format(resolve=resolve, enter=enter)]
    for index, function in enumerate(known):
        assembly.append(FUNCTION.format(
            name=function, table=table, offset=8 * index, index=index, enter=enter))
    assembly.append(f"    .bss\n    .hidden {table}\n    .globl {table}\n    .balign 8\n"
                    f"{table}:\n    .zero {8 * len(known)}\n")
    assembly.append(f"    .section .data.rel.ro,\"aw\"\n    .hidden {names}\n"
                    f"    .globl {names}\n    .balign 8\n{names}:\n")
    assembly.extend(f"    .quad .Lname{index}\n" for index in range(len(known)))
    assembly.append("    .section .rodata\n")
    assembly.extend(f".Lname{index}: .asciz \"{function}\"\n"
                    for index, function in enumerate(known))
    assembly.append("    .section .note.GNU-stack,\"\",@progbits\n")
    source = (RESOLVER.replace("names", names).replace("table", table)
              .replace("RESOLVE", resolve)
              .replace("LIBRARY", f'"{file}"').replace("MISSING", str(missing)))
    (work / f"{name}.s").write_text("".join(assembly))
    (work / f"{name}.c").write_text(source)
    objects = []
    for suffix in ("s", "c"):
        objects.append(work / f"{name}-{suffix}.o")
        run("cc", "-O2", "-fPIC", "-c", "-o", str(objects[-1]), str(work / f"{name}.{suffix}"))
    archive = root / "lib" / f"lib{name}.a"
    archive.unlink(missing_ok=True)
    run("ar", "crs", str(archive), *map(str, objects))
    print(f"{archive}: {len(known)} functions of {file}")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target",
            str(work / "wheels"), "--requirement", str(HERE / "cuda_requirements.txt"))
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(work / "wheels" / "nvidia" / "cu13", folder)
        (folder / "lib64").symlink_to("lib")
        # The runtime goes into the program: some kernels of candle call it.
        (folder / "lib" / "libcudart.a").symlink_to("libcudart_static.a")
        for name, file, missing in LIBRARIES:
            forwarder(folder, name, file, missing, work)


if __name__ == "__main__":
    main()
