"""The CRC that the POSIX `cksum` program prints (not zlib's crc32): the preferred id depends on it everywhere alike."""

from __future__ import annotations

_POLYNOMIAL = 0x04C11DB7
_MASK = 0xFFFFFFFF


def _table() -> tuple[int, ...]:
    rows = []
    for byte in range(256):
        crc = byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ (_POLYNOMIAL if crc & 0x80000000 else 0)
        rows.append(crc & _MASK)
    return tuple(rows)


_TABLE = _table()


def cksum(data: bytes) -> int:
    """Return the checksum of `data`: over its bytes, then its length's, lowest first (POSIX.1-2017, cksum)."""
    crc = 0
    length = len(data)
    tail = length.to_bytes((length.bit_length() + 7) // 8, "little")
    for byte in data + tail:
        crc = ((crc << 8) & _MASK) ^ _TABLE[(crc >> 24) ^ byte]
    return ~crc & _MASK
