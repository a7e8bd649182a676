"""Good output turned into what an encrypter would write around it: boxes as of cenc, bytes as they were."""

import struct

from tests.unit.validator.edits import Edit, Exchanges, at, box, data, make_box

KEY_ID = bytes(range(16))
IV_BYTES = 8


def encrypted(track: str = "v0") -> Edit:
    """All of one track with senc, saiz, saio and an init segment that says cenc."""

    def apply(exchanges: Exchanges) -> Exchanges:
        for pattern, edit in ((rf"/{track}/init\.mp4", protect_init), (rf"/{track}/\d+(\.part)?\.m4s", protect_media)):
            if any(at(e, pattern) for e in exchanges):
                exchanges = data(pattern, edit)(exchanges)
        return exchanges

    return apply


def protect_init(body: bytes) -> bytes:
    """The sample entry becomes an encrypted one."""
    place = box(body, b"avc1", 0) - 8
    size = struct.unpack_from(">I", body, place)[0]
    scheme = make_box(b"schm", bytes(4) + b"cenc" + struct.pack(">I", 0x10000))
    key = make_box(b"tenc", bytes(4) + bytes([0, 0, 1, IV_BYTES]) + KEY_ID)
    sinf = make_box(b"sinf", make_box(b"frma", b"avc1") + scheme + make_box(b"schi", key))
    entry = struct.pack(">I4s", size + len(sinf), b"encv") + body[place + 8 : place + size] + sinf
    return grown(body[:place] + entry + body[place + size :], (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"), len(sinf))


def grown(body: bytes, kinds: tuple[bytes, ...], extra: int) -> bytes:
    """Containers on the way down say their new size."""
    place = 0
    for kind in kinds:
        place = body.index(kind, place) - 4
        size = struct.unpack_from(">I", body, place)[0]
        body = body[:place] + struct.pack(">I", size + extra) + body[place + 4 :]
        place += 8
    return body


def protect_media(body: bytes) -> bytes:
    """Every moof gets senc, saiz and saio; initialisation vectors are the decode times of the samples."""
    out, place = b"", 0
    while place < len(body):
        size, kind = struct.unpack_from(">I4s", body, place)
        piece = body[place : place + size]
        out += protect_moof(piece) if kind == b"moof" else piece
        place += size
    return out


def protect_moof(moof: bytes) -> bytes:
    tfdt = struct.unpack_from(">Q", moof, box(moof, b"tfdt") + 4)[0]
    count = struct.unpack_from(">I", moof, box(moof, b"trun") + 4)[0]
    vectors = b"".join(struct.pack(">Q", (tfdt << 16) + i) for i in range(count))
    senc = make_box(b"senc", struct.pack(">II", 0, count) + vectors)
    saiz = make_box(b"saiz", bytes(4) + bytes([IV_BYTES]) + struct.pack(">I", count))
    at_entries = len(moof) + len(saiz) + 20 + 16  # saio has 20 bytes, senc 16 before its entries
    saio = make_box(b"saio", struct.pack(">III", 0, 1, at_entries))
    added = saiz + saio + senc
    trun = box(moof, b"trun") + 8
    offset = struct.unpack_from(">i", moof, trun)[0] + len(added)
    moof = moof[:trun] + struct.pack(">i", offset) + moof[trun + 4 :]
    return grown(moof + added, (b"moof", b"traf"), len(added))
