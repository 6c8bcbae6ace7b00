/* Targets as lepton_targets/cpus.py has them: of what a machine runs, the later is the better. */
#ifndef LEPTON_TARGETS_H
#define LEPTON_TARGETS_H

/* machine: what `uname -m` prints. features: what /proc/cpuinfo must list, a space between. */
typedef struct lepton_target {
  const char *name, *machine, *features;
} lepton_target;

static const lepton_target lepton_targets[] = {
    {"x86-64", "x86_64", ""},
    {"x86-64-avx2", "x86_64", "avx2 fma bmi2"},
    {"x86-64-avxvnni", "x86_64", "avx2 fma bmi2 avx_vnni"},
    {"x86-64-avx512vnni", "x86_64", "avx2 fma bmi2 avx512f avx512bw avx512dq avx512vl avx512_vnni"},
    {"x86-64-avx512vbmi", "x86_64",
     "avx2 fma bmi2 avx512f avx512bw avx512dq avx512vl avx512_vnni avx512vbmi avx512_vbmi2 avx512ifma "
     "avx512_bitalg avx512_vpopcntdq"},
    {"x86-64-avx512bf16", "x86_64",
     "avx2 fma bmi2 avx512f avx512bw avx512dq avx512vl avx512_vnni avx512vbmi avx512_vbmi2 avx512ifma "
     "avx512_bitalg avx512_vpopcntdq avx512_bf16"},
    {"aarch64", "aarch64", "asimd"},
    {"cortex-a53", "aarch64", "asimd"},
    {"cortex-a72", "aarch64", "asimd"},
    {"cortex-a76", "aarch64", "asimd asimddp"},
    {"neoverse-v1", "aarch64", "asimd asimddp i8mm"},
    {"armv7", "armv7l", "neon"},
    {"riscv64", "riscv64", ""},
    {"riscv64-v", "riscv64", "v"},
};
#endif
