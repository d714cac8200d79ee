"""A picture that looks like a QR code and differs from instance to instance.

It is a real PNG, but no scanner reads it: the three corner marks and the timing lines are a QR
code's, the rest is a hash of the seed. The demo has no phone to pair with.
"""

from __future__ import annotations

import hashlib
import struct
import zlib

SIZE = 29
MARK = 7
TIMING = 6
SCALE = 8
BORDER = 4
CENTRE = 3
RING = 2

Matrix = list[list[bool]]


def pattern(seed: str) -> Matrix:
    """Return the dark modules, row by row."""
    return [_row(row, hashlib.sha256(f"{seed}/{row}".encode()).digest()) for row in range(SIZE)]


def png(matrix: Matrix) -> bytes:
    """Return a one-bit grey PNG of the modules with a quiet zone around them."""
    blank = [False] * BORDER
    width = len(matrix) + 2 * BORDER
    rows = [[False] * width] * BORDER + [blank + row + blank for row in matrix] + [[False] * width] * BORDER
    lines = b"".join(_scan_line(row) * SCALE for row in rows)
    header = struct.pack(">IIBBBBB", width * SCALE, width * SCALE, 1, 0, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _row(row: int, noise: bytes) -> list[bool]:
    return [_module(row, column, otherwise=bool(noise[column] & 1)) for column in range(SIZE)]


def _module(row: int, column: int, *, otherwise: bool) -> bool:
    for top, left in ((0, 0), (0, SIZE - MARK), (SIZE - MARK, 0)):
        down, right = row - top, column - left
        if -1 <= down <= MARK and -1 <= right <= MARK:
            distance = max(abs(down - CENTRE), abs(right - CENTRE))
            return distance not in {RING, RING + 2}
    if TIMING in (row, column):
        return (row + column) % 2 == 0
    return otherwise


def _scan_line(row: list[bool]) -> bytes:
    bits = "".join(("0" if dark else "1") * SCALE for dark in row)
    return b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
