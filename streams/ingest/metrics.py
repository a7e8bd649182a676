"""Every Prometheus series of ``finecut encode``."""

from prometheus_client import Counter, Gauge, Histogram

LATENCIES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)

READY = Gauge("finecut_encode_ready", "1 once the first chunk is acknowledged")
CHUNKS = Counter("finecut_encode_chunks", "Chunks acknowledged by the broker", ["kind"])
BYTES = Counter("finecut_encode_bytes", "Payload bytes acknowledged by the broker", ["kind"])
QUEUE = Gauge("finecut_encode_queue_bytes", "Bytes waiting for the broker")
ACK = Histogram("finecut_encode_ack_seconds", "From produce to acknowledgement of a chunk", buckets=LATENCIES)
CUT = Histogram("finecut_encode_cut_seconds", "From a chunk's last sample to its produce", buckets=LATENCIES)
PERIODS = Counter("finecut_encode_periods", "Periods opened, by cause", ["cause"])
TAKEOVERS = Counter("finecut_encode_takeovers", "Times this encoder of a pair went on for the other", ["how"])
LOST = Counter("finecut_encode_lost_bytes", "Bytes given up: not acknowledged when a writer was let go, or come while Kafka was away")
OUTAGES = Counter("finecut_encode_outages", "Times that Kafka was away for longer than the queue holds")
STANDING_BY = Gauge("finecut_encode_standing_by", "Channels whose other encoder leads")
SKEW = Gauge("finecut_encode_skew_seconds", "Broker time minus the time that its period gives the media just sent", ["channel"])
CLOCK_ALARM = Gauge("finecut_encode_clock_alarm", "1 while a period's time is off by more than 200 ms for good", ["channel"])
STALLED = Gauge("finecut_encode_stalled", "Channels whose encoder is silent")
BEHIND = Gauge("finecut_encode_behind_seconds", "How far the encoder is behind real time")
SKIPPED = Counter("finecut_encode_skipped_seconds", "Input left out because the encoder could not keep up, seconds")
DROPPED = Counter("finecut_encode_dropped_samples", "Samples outside any period: before its start, or old ones after a jump")
REFUSED = Counter("finecut_encode_pushes_refused", "Pushes that were refused, with the reason in the answer and the log")
