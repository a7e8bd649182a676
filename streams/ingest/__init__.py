"""From an encoder to topics; `ChannelWriter` is for those who bring their own encoder."""

from streams.ingest.producer import ChannelWriter
from streams.ingest.samples import Sample
from streams.ingest.tracks import describe_track

__all__ = ["ChannelWriter", "Sample", "describe_track"]
