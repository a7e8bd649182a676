"""Every Prometheus series of the control plane."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# From "one record folded" to "a decision waited for the broker": 10 us to 1 s.
FOLD_S = (0.00001, 0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
DECIDE_S = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
LATENCY_MS = (1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 50.0, 75.0, 100.0, 200.0, 500.0, 1_000.0, 5_000.0)


class Metrics:
    """
    The series, in a registry of their own.

    Args:
        registry: Where they are registered; a new one by default, so that two apps live in one process.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        r = self.registry
        self.ready = Gauge("finecut_control_ready", "1 when every assigned pool is decided for", registry=r)
        self.records = Counter("finecut_control_records", "Records folded", ["topic"], registry=r)
        self.replayed = Counter("finecut_control_replayed_records", "Records read again and skipped", ["topic"], registry=r)
        self.rejects = Counter("finecut_control_rejects", "Records written to rejects", ["topic"], registry=r)
        self.gaps = Counter("finecut_control_offset_gaps", "Offsets of a topic that were never seen", ["topic"], registry=r)
        self.fold_s = Histogram("finecut_control_fold_seconds", "Time to fold one record", ["topic"], buckets=FOLD_S, registry=r)
        self.decisions = Counter("finecut_control_decisions", "Decisions appended", ["kind"], registry=r)
        self.overtaken = Counter("finecut_control_overtaken", "Appends that another planner came before", registry=r)
        self.mended = Counter("finecut_control_mended_records", "Plans and assignments sent again, as others wrote them over", registry=r)
        self.mended_rows = Counter("finecut_control_mended_rows", "Rows of tables written again, as others wrote them over", registry=r)
        self.decide_s = Histogram("finecut_control_decide_seconds", "Time to decide", buckets=DECIDE_S, registry=r)
        self.append_s = Histogram("finecut_control_append_seconds", "Time to append a decision", buckets=DECIDE_S, registry=r)
        self.assignments = Counter("finecut_control_assignments", "Assignments set", ["reason"], registry=r)
        self.voids = Counter("finecut_control_voids", "Segments declared lost", registry=r)
        self.dead = Counter("finecut_control_dead_packagers", "Lives of packagers declared dead", registry=r)
        self.hedges_begun = Counter("finecut_control_hedges_begun", "Late slices given to a second packager", ["pool"], registry=r)
        self.hedges = Gauge("finecut_control_hedges", "Late slices that a second packager makes, too", ["pool"], registry=r)
        self.suspects = Gauge("finecut_control_suspect_packagers", "Packagers of which too little was heard lately", ["pool"], registry=r)
        self.mass_hold = Gauge(
            "finecut_control_mass_suspicion", "1 while so many are suspect at once that none is declared dead for it", ["pool"], registry=r
        )
        self.mass_holds = Counter("finecut_control_mass_suspicions", "Times that so many were suspect at once", ["pool"], registry=r)
        self.event_to_assignment_ms = Histogram(
            "finecut_control_event_to_assignment_milliseconds",
            "Broker time of an assignment minus that of the record that led to it",
            buckets=LATENCY_MS,
            registry=r,
        )
        self.packagers = Gauge("finecut_control_packagers", "Packagers by what they last said of themselves", ["pool", "state"], registry=r)
        self.capacity_cores = Gauge("finecut_control_capacity_cores", "Cores of the ready packagers", ["pool"], registry=r)
        self.used_cores = Gauge("finecut_control_used_cores", "Cores the ready packagers use", ["pool"], registry=r)
        self.load_max = Gauge("finecut_control_load_max_ratio", "Largest share of its cores that a packager uses", ["pool"], registry=r)
        self.load_mean = Gauge("finecut_control_load_mean_ratio", "Mean share of their cores that packagers use", ["pool"], registry=r)
        self.channels = Gauge("finecut_control_channels", "Channels by level in force", ["pool", "level"], registry=r)
        self.price = Gauge("finecut_control_price_ratio", "Price of the pool's capacity, 1 while the load fits", ["pool"], registry=r)
        self.unfit = Gauge("finecut_control_unfit_slices", "Slices that wait and fit no packager of the pool", ["pool"], registry=r)
        self.dealt = Gauge("finecut_control_plan_slices", "Slices that plans in force deal channels into", ["pool", "kind"], registry=r)
        self.wanted = Gauge("finecut_control_wanted_packagers", "Packagers wanted", ["pool"], registry=r)
        self.overflow = Gauge("finecut_control_overflow_slices", "Slices that wait for capacity", ["pool"], registry=r)
        self.forecast_mae = Gauge("finecut_control_forecast_mae_sessions", "Mean absolute error of the mix", ["pool"], registry=r)
        self.forecast_mae_last = Gauge(
            "finecut_control_forecast_last_value_mae_sessions", "Mean absolute error of the last value", ["pool"], registry=r
        )
        self.commit_age_s = Gauge("finecut_control_commit_age_seconds", "Age of the oldest record folded but not committed", registry=r)
        self.stalled_s = Gauge("finecut_control_stalled_seconds", "For how long a topic that has more was not read", registry=r)
        self.loop_lag_s = Gauge("finecut_control_loop_lag_seconds", "How late the event loop woke up last", registry=r)
