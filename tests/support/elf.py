"""As much of ELF as a loader of generated code needs: its memory image, exports, imports and relocations."""

from __future__ import annotations

import struct
from dataclasses import dataclass

PT_LOAD, PT_DYNAMIC = 1, 2
DT_NULL, DT_NEEDED, DT_SYMTAB, DT_STRTAB = 0, 1, 6, 5
RELOCATION_SECTIONS = (4, 9)
SHT_DYNSYM = 11


@dataclass(frozen=True)
class SharedObject:
    """image: bytes from address 0; exports: address by name; undefined: names it needs."""

    image: bytes
    exports: dict[str, int]
    undefined: tuple[str, ...]
    needed: int
    relocations: int


def parse(content: bytes) -> SharedObject:
    """A little-endian shared object of 32 or 64 bits."""
    assert content[:4] == b"\x7fELF"
    wide = content[4] == 2
    e_phoff, e_shoff = struct.unpack_from("<QQ" if wide else "<II", content, 32 if wide else 28)
    e_phentsize, e_phnum, e_shentsize, e_shnum = struct.unpack_from("<4H", content, 54 if wide else 42)
    image, dynamic = bytearray(), b""
    for index in range(e_phnum):
        at = e_phoff + index * e_phentsize
        if wide:
            kind, _, offset, address, _, filesz, memsz, _ = struct.unpack_from("<IIQQQQQQ", content, at)
        else:
            kind, offset, address, _, filesz, memsz, _, _ = struct.unpack_from("<8I", content, at)
        if kind == PT_LOAD:
            image += bytes(max(0, address + memsz - len(image)))
            image[address : address + filesz] = content[offset : offset + filesz]
        elif kind == PT_DYNAMIC:
            dynamic = content[offset : offset + filesz]
    entries = list(struct.iter_unpack("<qQ" if wide else "<iI", dynamic))
    tags = dict(entries)
    symbols, relocations = 0, 0
    for index in range(e_shnum):
        at = e_shoff + index * e_shentsize
        kind = struct.unpack_from("<I", content, at + 4)[0]
        size = struct.unpack_from("<Q" if wide else "<I", content, at + (32 if wide else 20))[0]
        if kind == SHT_DYNSYM:
            symbols = size // (24 if wide else 16)
        relocations += size if kind in RELOCATION_SECTIONS else 0
    exports, undefined = {}, []
    for index in range(1, symbols):
        at = tags[DT_SYMTAB] + index * (24 if wide else 16)
        if wide:
            name, _, _, section, value, _ = struct.unpack_from("<IBBHQQ", image, at)
        else:
            name, value, _, _, _, section = struct.unpack_from("<IIIBBH", image, at)
        start = tags[DT_STRTAB] + name
        text = bytes(image[start : image.index(0, start)]).decode()
        if section:
            exports[text] = value
        else:
            undefined.append(text)
    needed = sum(tag == DT_NEEDED for tag, _ in entries)
    return SharedObject(bytes(image), exports, tuple(undefined), needed, relocations)
