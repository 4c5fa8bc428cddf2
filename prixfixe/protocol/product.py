"""Products: what is traded, packed into one self-describing bytes32, so that no registry is needed.

Layout from the top: version u8 (= 1) | milli_vcpu u32 | memory_mib u32 | disk_mib u32 | gpu_count u8 |
gpu_model 12 bytes ASCII, padded with zeros | reserved u16 (= 0) | max_seconds u32.

Catalogue names: `cpu-2x4/10m` is 2 vCPU, 4 GiB of memory, at most 10 minutes a task, with 4 GiB of disk,
which is the disk of every name that does not say `-disk20` (GiB). `gpu-8x64-disk200-2xa100-80g/1h` adds 2
GPUs of model `a100-80g`. vCPU and GiB may have decimals as long as they are whole milli-vCPU and whole MiB.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from prixfixe.errors import InvalidInput

PRODUCT_VERSION: Final = 1
DEFAULT_DISK_MIB: Final = 4096
MAX_SECONDS: Final = 30 * 24 * 3600  # the contract takes no longer task

LAYOUT: Final = struct.Struct(">BIIIB12sHI")
_UINT32_MAX: Final = 2**32 - 1
_GPU_MODEL = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,10}[a-z0-9])?", re.ASCII)
_DECIMAL = r"(?:0|[1-9][0-9]{0,9})(?:\.[0-9]{1,10})?"
_NAME = re.compile(
    rf"(?P<kind>cpu|gpu)-(?P<vcpu>{_DECIMAL})x(?P<memory>{_DECIMAL})(?:-disk(?P<disk>{_DECIMAL}))?"
    r"(?:-(?P<gpus>[1-9][0-9]{0,2})x(?P<model>[a-z0-9.-]{1,12}))?/(?P<time>[1-9][0-9]{0,9})(?P<unit>[smh])",
    re.ASCII,
)
_SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True)
class Product:
    """Resources of one task and its time cap.

    milli_vcpu: thousandths of a virtual CPU. memory_mib, disk_mib: MiB. max_seconds: wall-clock cap of a
    task. gpu_model: lower-case catalogue name of at most 12 characters; empty exactly when gpu_count is 0.
    """

    milli_vcpu: int
    memory_mib: int
    disk_mib: int = DEFAULT_DISK_MIB
    gpu_model: str = ""
    gpu_count: int = 0
    max_seconds: int = 600

    def __post_init__(self) -> None:
        for name, least, most in (
            ("milli_vcpu", 1, _UINT32_MAX),
            ("memory_mib", 1, _UINT32_MAX),
            ("disk_mib", 0, _UINT32_MAX),
            ("gpu_count", 0, 255),
            ("max_seconds", 1, MAX_SECONDS),
        ):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise _bad(f"{name} is {value!r}, not a whole number from {least} to {most}")
        if (self.gpu_count == 0) != (self.gpu_model == ""):
            raise _bad(f"{self.gpu_count} GPUs of model {self.gpu_model!r}: both or neither")
        if self.gpu_model and not (type(self.gpu_model) is str and _GPU_MODEL.fullmatch(self.gpu_model)):
            raise _bad(f"gpu_model is {self.gpu_model!r}; use at most 12 of a-z, 0-9, '.', '-'")

    def to_bytes(self) -> bytes:
        """The 32 bytes that orders and offers carry."""
        return LAYOUT.pack(
            PRODUCT_VERSION,
            self.milli_vcpu,
            self.memory_mib,
            self.disk_mib,
            self.gpu_count,
            self.gpu_model.encode("ascii"),
            0,
            self.max_seconds,
        )

    @staticmethod
    def from_bytes(code: bytes) -> Product:
        """The product of 32 bytes; InvalidInput for another version or anything that `to_bytes` would not
        write."""
        if type(code) is not bytes or len(code) != 32:
            raise _bad(f"a product code has 32 bytes, not {code!r}")
        version, milli_vcpu, memory, disk, gpus, model, reserved, seconds = LAYOUT.unpack(code)
        if version != PRODUCT_VERSION:
            raise _bad(
                f"product code 0x{code.hex()} has version {version}; this program knows {PRODUCT_VERSION}"
            )
        try:
            name = model.rstrip(b"\0").decode("ascii")
        except UnicodeDecodeError as error:
            raise _bad(f"product code 0x{code.hex()} has a GPU model that is not ASCII") from error
        if reserved != 0 or "\0" in name:
            raise _bad(f"product code 0x{code.hex()} has bits set that must be zero")
        return Product(milli_vcpu, memory, disk, name, gpus, seconds)

    @staticmethod
    def parse(name: str) -> Product:
        """The product of a catalogue name such as `cpu-2x4/10m`."""
        found = _NAME.fullmatch(name) if type(name) is str else None
        if found is None:
            raise _bad(f"{name!r} is not a product name")
        if (found["kind"] == "gpu") != (found["gpus"] is not None):
            raise _bad(f"{name!r}: a gpu product names its GPUs as -1xMODEL, a cpu product has none")
        return Product(
            milli_vcpu=_whole(found["vcpu"], 1000, name, "milli-vCPU"),
            memory_mib=_whole(found["memory"], 1024, name, "MiB of memory"),
            disk_mib=_whole(found["disk"], 1024, name, "MiB of disk") if found["disk"] else DEFAULT_DISK_MIB,
            gpu_model=found["model"] or "",
            gpu_count=int(found["gpus"] or 0),
            max_seconds=int(found["time"]) * _SECONDS[found["unit"]],
        )

    @staticmethod
    def read(text: str) -> Product:
        """The product that a person means: its catalogue name, or its code as 0x-hex."""
        if not text.startswith("0x"):
            return Product.parse(text)
        try:
            return Product.from_bytes(bytes.fromhex(text[2:]))
        except ValueError as error:
            raise _bad(f"{text[:80]!r} is not a product code") from error

    @property
    def name(self) -> str:
        """The catalogue name; `parse` reads it back to the same product."""
        disk = "" if self.disk_mib == DEFAULT_DISK_MIB else f"-disk{_decimal(self.disk_mib, 1024)}"
        gpus = f"-{self.gpu_count}x{self.gpu_model}" if self.gpu_count else ""
        unit = next(unit for unit in "hms" if self.max_seconds % _SECONDS[unit] == 0)
        kind = "gpu" if self.gpu_count else "cpu"
        size = f"{_decimal(self.milli_vcpu, 1000)}x{_decimal(self.memory_mib, 1024)}"
        return f"{kind}-{size}{disk}{gpus}/{self.max_seconds // _SECONDS[unit]}{unit}"

    def __str__(self) -> str:
        return self.name


def _whole(text: str, scale: int, name: str, what: str) -> int:
    scaled = Decimal(text) * scale
    if scaled != int(scaled):
        raise _bad(f"{name!r}: {text} is not a whole number of {what}")
    return int(scaled)


def _decimal(value: int, scale: int) -> str:
    """value / scale without rounding: both scales divide a power of ten, so the decimals end."""
    text = format(Decimal(value) / scale, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _bad(message: str) -> InvalidInput:
    return InvalidInput(message, code="bad-product", hint="name a product such as cpu-2x4/10m")
