"""What a reply holds in memory while it is sent."""

from starlette.requests import Request

from packager.origin.replies import WHOLE_BYTES_MAX, media


def a_request(**headers: str) -> Request:
    return Request({"type": "http", "method": "GET", "headers": [(name.encode(), value.encode()) for name, value in headers.items()]})


def test_a_large_range_is_sent_from_the_object_that_others_are_given() -> None:
    data = bytes(range(256)) * (WHOLE_BYTES_MAX // 128)
    reply = media(a_request(range="bytes=1-"), data)
    assert isinstance(reply.body, memoryview)
    assert reply.body.obj is data
    assert (bytes(reply.body), reply.headers["content-length"]) == (data[1:], str(len(data) - 1))


def test_a_small_range_is_sent_whole() -> None:
    assert media(a_request(range="bytes=2-3"), b"abcdef").body == b"cd"
