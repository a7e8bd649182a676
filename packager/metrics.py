"""Every Prometheus series of packager and origin."""

from prometheus_client import Counter, Gauge, Histogram

BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)

# ---------------------------------------------------------------- packager

PACKAGER_READY = Gauge("finecut_packager_ready", "1 once the first heartbeat is acknowledged")
PACKAGER_LIVES_LOST = Counter(
    "finecut_packager_lives_lost_total", "Times it was declared dead, or not heard in time, and went on as another life"
)
PACKAGER_SLICES = Gauge("finecut_packager_slices", "Slices in hand")
PACKAGER_STAGE = Histogram("finecut_packager_stage_seconds", "Time per stage and object", ["stage", "kind"], buckets=BUCKETS_S)
PACKAGER_SEGMENT_CPU = Histogram("finecut_packager_segment_cpu_seconds", "CPU time per segment and track", buckets=BUCKETS_S)
PACKAGER_LATENESS = Histogram(
    "finecut_packager_lateness_seconds", "From the last chunk being durable to the object being announced", ["kind"], buckets=BUCKETS_S
)
PACKAGER_OBJECTS = Counter("finecut_packager_objects_total", "Objects published", ["kind", "result"])
PACKAGER_FAILURES = Counter("finecut_packager_failures_total", "Objects that could not be published or made", ["fault"])
PACKAGER_CONFLICTS = Counter("finecut_packager_conflicts_total", "Objects refused since others of the same name exist: a defect, alarm")
PACKAGER_RETRIES = Counter("finecut_packager_publish_retries_total", "Tries of the store beyond the first")
PACKAGER_REJECTS = Counter("finecut_packager_rejects_total", "Records sent to rejects")
PACKAGER_CUT_OFF = Counter("finecut_packager_chunks_cut_off_total", "Chunks beyond the end of their period, not published")
PACKAGER_READ = Counter("finecut_packager_read_bytes_total", "Bytes read from media")
PACKAGER_OVERREAD = Counter("finecut_packager_overread_bytes_total", "Bytes read from media that no slice in hand needed")
PACKAGER_PUBLISHED = Counter("finecut_packager_published_bytes_total", "Bytes published")
PACKAGER_HELD = Gauge("finecut_packager_held_bytes", "Payload bytes in memory: of open segments, and on the way to the store", ["where"])
PACKAGER_PAUSES = Counter("finecut_packager_pauses_total", "Times that reading paused since the store is slow")
PACKAGER_USE = Gauge("finecut_packager_use", "Use in the last heartbeat, in the unit of each resource", ["resource"])
PACKAGER_CAPACITY = Gauge("finecut_packager_capacity", "Capacity, in the unit of each resource", ["resource"])
