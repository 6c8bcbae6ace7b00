"""GPUs by programming interface. They wait for their back end."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU family. api: what its kernels are written in; architecture: the compiler's name of it."""

    name: str
    title: str
    api: str
    architecture: str | None = None
    kind: str = "gpu"
    available: bool = False


GPUS: tuple[Gpu, ...] = (
    Gpu("opencl", "any GPU with OpenCL 1.2", api="opencl"),
    Gpu("cuda", "NVIDIA GPU, compute capability found at run time", api="cuda"),
    Gpu("jetson-orin", "NVIDIA Jetson Orin", api="cuda", architecture="sm_87"),
)
