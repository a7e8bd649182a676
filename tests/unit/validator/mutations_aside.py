"""Defects of thumbnails and captions: (rule, what is wrong, how good output is spoiled)."""

import struct

from tests.unit.validator.edits import Edit, answer, at, data, header, swap

JPG, IMAGES, MULTIVARIANT, DASH = r"/thumb0/\d+\.jpg", r"/hls/thumb0\.m3u8", r"/hls/multivariant\.m3u8", r"/dash/manifest\.mpd"
VTT = r"/t0/\d+\.vtt"


def wider(body: bytes) -> bytes:
    """A picture whose frame says another size."""
    place = body.index(b"\xff\xc0") + 7
    return body[:place] + struct.pack(">H", 320) + body[place + 2 :]


ASIDE_MUTATIONS: tuple[tuple[int, str, Edit], ...] = (
    (41, "a picture that is none", data(JPG, lambda body: b"GIF89a" + body)),
    (41, "a picture cut short", data(JPG, lambda body: body[:-2])),
    (41, "a picture of another size", data(JPG, wider)),
    (41, "a picture without its type", header(JPG, content_type="application/octet-stream")),
    (41, "a picture that is not there", answer(lambda e: at(e, JPG), 404)),
    (41, "an image playlist that does not say so", swap(IMAGES, r"#EXT-X-IMAGES-ONLY\n", "")),
    (41, "pictures without tiles", swap(IMAGES, r"#EXT-X-TILES.*\n", "")),
    (41, "tiles of another size", swap(IMAGES, r"RESOLUTION=160x90", "RESOLUTION=320x180")),
    (41, "tiles that need more pictures", swap(IMAGES, r"LAYOUT=1x1", "LAYOUT=2x1")),
    (41, "a multivariant that announces another size", swap(MULTIVARIANT, r"RESOLUTION=160x90(?=,CODECS=.jpeg)", "RESOLUTION=80x45")),
    (41, "a picture longer than its segment", swap(IMAGES, r"#EXTINF:4\.0+", "#EXTINF:4.1")),
    (41, "a picture at another time", swap(IMAGES, r"(PROGRAM-DATE-TIME:.*)\.\d{3}Z", r"\1.001Z")),
    (41, "a picture under another name later", swap(IMAGES, r"thumb0/0\.jpg", "thumb0/1.jpg", share=0.5)),
    (41, "an image set without tiles", swap(DASH, r"<EssentialProperty[^>]*>", "")),
    (41, "an image set of another size", swap(DASH, r'width="160" height="90"(?=>\n<Essential)', 'width="80" height="45"')),
    (41, "a picture of no segment", swap(DASH, r'(\$Time\$\.jpg"><SegmentTimeline>\n<S t=")0', r"\g<1>1")),
    (42, "a text that is none", data(VTT, lambda body: body.replace(b"WEBVTT", b"WEBTEXT"))),
    (42, "a text that does not say where it lies", swap(VTT, r"X-TIMESTAMP-MAP.*\n", "")),
    (42, "a text that lies elsewhere", swap(VTT, r"MPEGTS:0", "MPEGTS:9000000")),
    (42, "a map that cannot be read", swap(VTT, r"LOCAL:00:00:00.000", "LOCAL:midnight")),
    (42, "a cue that ends before it begins", swap(VTT, r"(\S+) --> (\S+)", r"\2 --> \1")),
    (42, "a cue timing that cannot be read", swap(VTT, r" --> ", "-->")),
    (42, "a text without its type", header(VTT, content_type="text/plain")),
    (42, "all cues a segment late", swap(VTT, r"MPEGTS:0", "MPEGTS:540000")),
)
