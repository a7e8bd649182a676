"""Every Prometheus series of the origin."""

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

# Parts should be there some milliseconds after their last chunk; a takeover takes seconds.
LATENCIES = (0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 4, 8, 16)

READY = Gauge("finecut_origin_ready", "1 while the topics are read to their ends and followed")
PART_LATENCY = Histogram(
    "finecut_origin_part_latency_seconds", "From a part's last chunk being durable to it being listed", buckets=LATENCIES
)
REQUESTS = Counter("finecut_origin_requests", "Answers, by what was asked for and class of status", ["what", "status"])
SENT_BYTES = Counter("finecut_origin_sent_bytes", "Bytes of objects sent")
WAITING = Gauge("finecut_origin_waiting_requests", "Requests that wait for something to be published, or for the store")
SESSIONS = Gauge("finecut_origin_sessions", "Players that are watching")
CHANNELS = Gauge("finecut_origin_channels", "Channels known, by state", ["state"])
PLAYER_REPORTS = Counter("finecut_origin_player_reports", "CMCD events posted, by whether their session is known", ["session"])
RECORDS = Counter("finecut_origin_records", "Records folded, by topic", ["topic"])
REJECTED = Counter("finecut_origin_rejected_records", "Records that could not be read", ["topic"])
BANDWIDTH_EXCEEDED = Counter(
    "finecut_origin_bandwidth_exceeded_segments", "Segments above the declared peak of their track (media rule 24)"
)
STORE_UNANSWERED = Counter("finecut_origin_store_unanswered_requests", "Requests for objects that the store did not answer for in time")
BROKEN_OFF = Counter("finecut_origin_broken_off_answers", "Answers that could not be brought to their end")
FINISHED = Counter("finecut_origin_finished_channels", "Channels that ended, by what became of their finished manifests", ["result"])
REJECTS_FAILED = Counter("finecut_origin_rejects_failed_records", "Rejects that the broker did not take")
DEMAND_FAILED = Counter("finecut_origin_demand_failed_records", "Demand records that the broker did not take")


def exposition() -> tuple[bytes, str]:
    """All series as text, and its content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
