"""CPUs that a bundle can be compiled for; of one architecture, the later row is the better where it runs."""

from __future__ import annotations

import enum

from lepton_targets.record import Record


class Isa(enum.StrEnum):
    """An instruction set as kernels see it."""

    PORTABLE = "portable"
    SSE2 = "sse2"
    AVX2 = "avx2"
    AVX_VNNI = "avxvnni"
    AVX512_VNNI = "avx512vnni"
    AVX512_VBMI = "avx512vbmi"
    AVX512_BF16 = "avx512bf16"
    NEON = "neon"
    NEON_ARMV7 = "neon_armv7"
    NEON_DOTPROD = "neon_dotprod"
    NEON_I8MM = "neon_i8mm"
    RVV = "rvv"


class Cpu(Record):
    """A CPU, or the least of a family.

    machine: what `uname -m` prints there. features: what Linux must list in /proc/cpuinfo for its code to
    run. zig, mcpu: the triple and CPU name for `zig cc`, less a preference for half of its vectors. qemu: the
    program of qemu-user and its CPU model, None where it can't emulate the instruction set. Cache sizes in
    KiB of one core, as vendors state them.
    """

    name: str
    title: str
    machine: str
    isa: Isa
    vector_bytes: int
    l1_kib: int
    l2_kib: int
    zig: str
    mcpu: str
    features: tuple[str, ...] = ()
    qemu: tuple[str, str] | None = None
    kind: str = "cpu"
    available: bool = True


_AVX2 = ("avx2", "fma", "bmi2")
_VNNI = (*_AVX2, "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni")
_VBMI = (*_VNNI, "avx512vbmi", "avx512_vbmi2", "avx512ifma", "avx512_bitalg", "avx512_vpopcntdq")
_BF16 = (*_VBMI, "avx512_bf16")

CPUS: tuple[Cpu, ...] = (
    Cpu(
        "x86-64",
        "x86-64 with SSE2, any since 2003",
        machine="x86_64",
        isa=Isa.SSE2,
        vector_bytes=16,
        l1_kib=32,
        l2_kib=256,
        zig="x86_64-linux-gnu",
        mcpu="x86_64",
        qemu=("qemu-x86_64", "qemu64"),
    ),
    Cpu(
        "x86-64-avx2",
        "x86-64 with AVX2 and FMA, Intel since Haswell, AMD since Zen",
        machine="x86_64",
        isa=Isa.AVX2,
        vector_bytes=32,
        l1_kib=32,
        l2_kib=256,
        zig="x86_64-linux-gnu",
        mcpu="haswell",
        features=_AVX2,
        qemu=("qemu-x86_64", "max"),
    ),
    Cpu(
        "x86-64-avxvnni",
        "x86-64 with AVX-VNNI: Intel since Alder Lake, also its N-series and E-cores, AMD since Zen 5",
        machine="x86_64",
        isa=Isa.AVX_VNNI,
        vector_bytes=32,
        l1_kib=32,
        l2_kib=1024,
        zig="x86_64-linux-gnu",
        mcpu="haswell+avxvnni",
        features=(*_AVX2, "avx_vnni"),
    ),
    Cpu(
        "x86-64-avx512vnni",
        "x86-64 with AVX-512 VNNI, Intel since Cascade Lake, AMD since Zen 4",
        machine="x86_64",
        isa=Isa.AVX512_VNNI,
        vector_bytes=64,
        l1_kib=32,
        l2_kib=1024,
        zig="x86_64-linux-gnu",
        mcpu="cascadelake-prefer_256_bit",
        features=_VNNI,
    ),
    Cpu(
        "x86-64-avx512vbmi",
        "x86-64 with AVX-512 VNNI and VBMI, Intel since Ice Lake, AMD since Zen 4",
        machine="x86_64",
        isa=Isa.AVX512_VBMI,
        vector_bytes=64,
        l1_kib=32,
        l2_kib=1024,
        zig="x86_64-linux-gnu",
        mcpu="icelake_server-prefer_256_bit",
        features=_VBMI,
    ),
    Cpu(
        "x86-64-avx512bf16",
        "x86-64 with AVX-512 VBMI and BF16, Intel since Sapphire Rapids, AMD since Zen 4",
        machine="x86_64",
        isa=Isa.AVX512_BF16,
        vector_bytes=64,
        l1_kib=32,
        l2_kib=1024,
        zig="x86_64-linux-gnu",
        mcpu="icelake_server+avx512bf16-prefer_256_bit",
        features=_BF16,
    ),
    Cpu(
        "aarch64",
        "any 64-bit Arm with NEON",
        machine="aarch64",
        isa=Isa.NEON,
        vector_bytes=16,
        l1_kib=32,
        l2_kib=512,
        zig="aarch64-linux-gnu",
        mcpu="generic",
        features=("asimd",),
        qemu=("qemu-aarch64", "cortex-a53"),
    ),
    Cpu(
        "cortex-a53",
        "Arm Cortex-A53: Raspberry Pi 3, Zynq UltraScale+, i.MX 8M",
        machine="aarch64",
        isa=Isa.NEON,
        vector_bytes=16,
        l1_kib=32,
        l2_kib=512,
        zig="aarch64-linux-gnu",
        mcpu="cortex_a53",
        features=("asimd",),
        qemu=("qemu-aarch64", "cortex-a53"),
    ),
    Cpu(
        "cortex-a72",
        "Arm Cortex-A72: Raspberry Pi 4, i.MX 8QM",
        machine="aarch64",
        isa=Isa.NEON,
        vector_bytes=16,
        l1_kib=32,
        l2_kib=1024,
        zig="aarch64-linux-gnu",
        mcpu="cortex_a72",
        features=("asimd",),
        qemu=("qemu-aarch64", "cortex-a72"),
    ),
    Cpu(
        "cortex-a76",
        "Arm Cortex-A76 with dot product: Raspberry Pi 5, RK3588",
        machine="aarch64",
        isa=Isa.NEON_DOTPROD,
        vector_bytes=16,
        l1_kib=64,
        l2_kib=512,
        zig="aarch64-linux-gnu",
        mcpu="cortex_a76",
        features=("asimd", "asimddp"),
        qemu=("qemu-aarch64", "cortex-a76"),
    ),
    Cpu(
        "neoverse-v1",
        "Arm with 8-bit matrix multiplication: Neoverse V1 and N2, Cortex-A510, A710 and X2",
        machine="aarch64",
        isa=Isa.NEON_I8MM,
        vector_bytes=16,
        l1_kib=64,
        l2_kib=1024,
        zig="aarch64-linux-gnu",
        mcpu="neoverse_n1+i8mm",
        features=("asimd", "asimddp", "i8mm"),
        qemu=("qemu-aarch64", "max"),
    ),
    Cpu(
        "armv7",
        "32-bit Armv7-A with NEON: Raspberry Pi 2, Zynq-7000, i.MX 6",
        machine="armv7l",
        isa=Isa.NEON_ARMV7,
        vector_bytes=16,
        l1_kib=32,
        l2_kib=256,
        zig="arm-linux-gnueabihf",
        mcpu="cortex_a9",
        features=("neon",),
        qemu=("qemu-arm", "cortex-a15"),
    ),
    Cpu(
        "riscv64",
        "64-bit RISC-V, RV64GC: VisionFive 2, SiFive U74",
        machine="riscv64",
        isa=Isa.PORTABLE,
        vector_bytes=8,
        l1_kib=32,
        l2_kib=512,
        zig="riscv64-linux-gnu",
        mcpu="generic_rv64+m+a+f+d+c",
        qemu=("qemu-riscv64", "rv64"),
    ),
    Cpu(
        "riscv64-v",
        "64-bit RISC-V with vectors, RV64GCV: SpacemiT K1, RVA23 profile",
        machine="riscv64",
        isa=Isa.RVV,
        vector_bytes=16,
        l1_kib=32,
        l2_kib=512,
        zig="riscv64-linux-gnu",
        mcpu="generic_rv64+m+a+f+d+c+v",
        features=("v",),
        qemu=("qemu-riscv64", "rv64,v=true,vlen=128,elen=64,vext_spec=v1.0"),
    ),
)
