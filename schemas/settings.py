"""
Every tunable number, its default and reason, and the relations between numbers.

Each ``__main__`` loads them once, from ``finecut.toml`` in the working folder (or the file named by ``FINECUT_CONFIG``) and from the
environment, where ``FINECUT_LIVENESS__DEAD_AFTER_MS`` mirrors the field's path; everyone else is handed the part they need.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from schemas.errors import UserError
from schemas.records import Level

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
# A broker that is back is found within a second; by default it may take ten.
RECONNECT_MS_MAX = 1_000
# Leaders that moved are seen at the first error; this is for clients that ask for nothing meanwhile.
METADATA_AGE_MS_MAX = 10_000
# Critical, in syslog's numbers.
LIBRARY_LOG_LEVEL = 2
Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]


class _Section(BaseModel):
    # A value that is refused may be a secret: it is not repeated.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class KafkaSettings(_Section):
    """The cluster and the shape of the topics."""

    bootstrap_servers: str = Field("", description="Cluster to use; empty: `demo` and `up` start their own Apache Kafka.")
    topic_prefix: str = Field("finecut.", description="Before every topic name; several installations share a cluster.")
    schema_registry_url: str = Field("", description="Confluent-compatible registry; empty: Avro single-object encoding.")
    pool_count: Positive = Field(8, description="Pools, fixed when the topics are created; each decides for about 500 channels.")
    media_partition_count: Positive = Field(64, description="Partitions of `media`; best no fewer than live channels.")
    replication_factor: Positive = Field(1, description="Copies of each partition; 3 in production.")
    message_bytes_max: Positive = Field(4_194_304, description="Largest record; a chunk of 0.5 s at 30 Mb/s is 1.9 MB.")
    media_retention_ms: Positive = Field(4 * HOUR_MS, description="How long chunks stay: how late packaging may be.")
    parts_retention_ms: Positive = Field(HOUR_MS, description="How long part announcements stay.")
    control_retention_ms: Positive = Field(72 * HOUR_MS, description="How long decisions and what they read stay for replay.")
    delivery_timeout_ms: Positive = Field(30_000, description="After this a record not acknowledged is an error.")
    request_timeout_ms: Positive = Field(5_000, description="After this a broker that does not answer is left, and another is asked.")
    fetch_wait_ms: Positive = Field(50, description="Longest wait of a fetch; a produce wakes it at once.")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How brokers are spoken to; SASL_SSL in production."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field("SCRAM-SHA-512", description="How a user is proved.")
    sasl_username: str = Field("", description="User; `finecut topics grant ROLE USER` gives it what its role needs.")
    sasl_password: SecretStr = Field(SecretStr(""), description="Its password; from the environment or a file that others cannot read.")
    ssl_ca: Path | None = Field(None, description="Whom brokers' certificates must be signed by (PEM); else the system's.")
    ssl_certificate: Path | None = Field(None, description="Our own certificate, where brokers ask for one (PEM).")
    ssl_key: Path | None = Field(None, description="Its private key (PEM).")

    @model_validator(mode="after")
    def _relations(self) -> Self:
        if self.has_sasl and not (self.sasl_username and self.sasl_password.get_secret_value()):
            raise ValueError(f"security_protocol {self.security_protocol} needs sasl_username and sasl_password")
        if (self.ssl_certificate is None) != (self.ssl_key is None):
            raise ValueError("ssl_certificate and ssl_key belong together")
        if self.request_timeout_ms < self.fetch_wait_ms + 1_000:
            raise ValueError("request_timeout_ms must outlast fetch_wait_ms by a second: a fetch without news is an answer")
        if self.delivery_timeout_ms < 2 * self.request_timeout_ms:
            raise ValueError("delivery_timeout_ms must outlast two brokers that do not answer: at least 2 x request_timeout_ms")
        for name in ("ssl_ca", "ssl_certificate", "ssl_key"):
            path: Path | None = getattr(self, name)
            if path is not None and not path.is_file():
                raise ValueError(f"{name}: there is no file {path}")
        return self

    @property
    def has_sasl(self) -> bool:
        """Whether brokers ask for a user."""
        return self.security_protocol.startswith("SASL")

    @property
    def has_tls(self) -> bool:
        """Whether what is said to brokers is encrypted."""
        return self.security_protocol.endswith("SSL")

    def client(self) -> dict[str, str | int]:
        """What every client of librdkafka is configured with."""
        return {
            "bootstrap.servers": self.bootstrap_servers,
            "message.max.bytes": self.message_bytes_max,
            # By default a broker that stands still with its connections open holds up what was asked of it for a minute.
            "socket.timeout.ms": self.request_timeout_ms,
            "reconnect.backoff.max.ms": RECONNECT_MS_MAX,
            "topic.metadata.refresh.interval.ms": METADATA_AGE_MS_MAX,
            # What librdkafka would write to stderr at each attempt to connect; what matters of it comes to us as errors.
            "log_level": LIBRARY_LOG_LEVEL,
            **self.security(),
        }

    def producer(self) -> dict[str, str | int]:
        """What every producer of librdkafka is: what it sends is acknowledged by all replicas in sync, in order, once, or is an error."""
        ours: dict[str, str | int] = {"acks": "all", "enable.idempotence": "true", "linger.ms": 0}
        return {**self.client(), **ours, "delivery.timeout.ms": self.delivery_timeout_ms}

    def security(self) -> dict[str, str | int]:
        """How clients of librdkafka speak to brokers; nothing where that is in the clear."""
        said: dict[str, str | int] = {}
        if self.security_protocol != "PLAINTEXT":
            said["security.protocol"] = self.security_protocol
        if self.has_sasl:
            said |= {
                "sasl.mechanism": self.sasl_mechanism,
                "sasl.username": self.sasl_username,
                "sasl.password": self.sasl_password.get_secret_value(),
            }
        files = {"ssl.ca.location": self.ssl_ca, "ssl.certificate.location": self.ssl_certificate, "ssl.key.location": self.ssl_key}
        said.update({name: str(path) for name, path in files.items() if path is not None and self.has_tls})
        return said


class MediaSettings(_Section):
    """What is fixed for a channel's life when it first appears."""

    target_duration_ms: Positive = Field(4_000, description="Longest segment; plain players hold back three of them.")
    part_ms: Positive = Field(500, description="Wanted part length; players skip parts much shorter than 0.5 s.")
    chunks_per_part: Positive = Field(2, description="Chunks a part is cut into; finer reaches chunked-transfer clients sooner.")
    time_shift_ms: Positive = Field(60_000, description="How far back a viewer may go.")
    publish_allowance_ms: Positive = Field(100, description="Time from a chunk being durable to its part being fetchable.")
    thumbnails: bool = Field(False, description="Whether a JPEG of each segment is made of the smallest video track.")
    thumbnail_height: Positive = Field(90, description="Its height in pixels; its width follows.")

    @model_validator(mode="after")
    def _relations(self) -> Self:
        if self.target_duration_ms % 1_000:
            raise ValueError("target_duration_ms must be whole seconds: EXT-X-TARGETDURATION is an integer")
        if self.part_ms * 2 > self.target_duration_ms:
            raise ValueError("part_ms must be at most half of target_duration_ms")
        if self.time_shift_ms < 6 * self.target_duration_ms:
            raise ValueError("time_shift_ms must be at least 6 x target_duration_ms: a playlist may not shrink under 3")
        return self


class IngestSettings(_Section):
    """The client library of producers."""

    queue_bytes_max: Positive = Field(64 * 2**20, description="Chunks waiting for the broker; then sending blocks.")
    queue_wait_ms: Positive = Field(5_000, description="How long sending blocks on a full queue before it is an error.")
    silence_ms: Positive = Field(5_000, description="An encoder silent for this long is reported as stalled.")
    behind_ms_max: Positive = Field(
        8_000, description="A real-time encoder later than this, two targets, leaves input out up to now and opens a new period."
    )
    jump_ms: Positive = Field(200, description="A step of the input's timestamps beyond this opens a new period.")
    gap_ms: Annotated[int, Field(ge=0)] = Field(
        600,
        description="A new period less than this after the end of the last, a part and a frame, begins at that end: nothing to jump over.",
    )
    standby_ms: Positive = Field(1_500, description="How long the leading encoder of a pair may be silent before the other goes on.")
    retry_ms: Positive = Field(1_000, description="How often an encoder that lost Kafka for longer than its queue holds tries again.")
    host: str = Field("127.0.0.1", description="Where `ingest` listens for encoders that push CMAF.")
    port: int = Field(8089, description="Its port; 0: a free one.")
    token: SecretStr = Field(
        SecretStr(""), description="What encoders must show: `Authorization: Bearer`, as a password, or `?token=`; empty: nothing."
    )
    gather_ms: Positive = Field(1_500, description="How long after the newest track of a pushed channel another is waited for.")
    metrics_host: str = Field("127.0.0.1", description="Where metrics are served.")
    metrics_port: int = Field(0, description="Port of the metrics; 0: a free one.")


class LivenessSettings(_Section):
    """When a packager is believed to be alive."""

    heartbeat_ms: Positive = Field(500, description="Time between heartbeats.")
    suspect_after_ms: Positive = Field(1_500, description="Silence after which a packager gets no new work.")
    dead_after_ms: Positive = Field(2_500, description="Silence after which its slices move.")
    mass_hold_ms: Positive = Field(10_000, description="How long a mass suspicion is held to be our own fault.")
    late_after_ms: Positive = Field(
        1_000, description="A segment late by this while others are in time is given to a second packager; its holder gets no new work."
    )
    late_dead_after_ms: Positive = Field(
        10_000, description="A packager late by this while others are in time is dead; a new life of it rests as long, each time longer."
    )

    @model_validator(mode="after")
    def _relations(self) -> Self:
        if self.suspect_after_ms < 2 * self.heartbeat_ms:
            raise ValueError("suspect_after_ms must allow for one lost heartbeat: at least 2 x heartbeat_ms")
        if self.dead_after_ms <= self.suspect_after_ms:
            raise ValueError("dead_after_ms must outlast suspicion")
        if self.late_after_ms < 2 * self.heartbeat_ms:
            raise ValueError("late_after_ms must allow for heartbeats that tell of progress: at least 2 x heartbeat_ms")
        if self.late_dead_after_ms <= max(self.late_after_ms, self.dead_after_ms):
            raise ValueError("late_dead_after_ms must outlast late_after_ms and dead_after_ms: who beats is dead later than who is silent")
        return self


class GranularitySettings(_Section):
    """What is packaged and how finely."""

    level: Literal["auto", "parts", "segments"] = Field(
        "auto", description="What a channel in demand gets: parts or whole segments as its viewers fetch, or always the one named."
    )
    idle_ms: Positive = Field(30_000, description="Without a request for this long a channel falls to its idle level.")
    segment_ms: Annotated[int, Field(ge=0)] = Field(0, description="Fixed segment length; 0: by the formula.")
    wait_price_cores: Annotated[float, Field(gt=0)] = Field(
        0.02, description="Cores we would spend to spare a viewer one second of waiting."
    )
    phi: Share = Field(0.2, description="Share of a segment's duration that a client waits to have it, before measured.")
    hysteresis: Annotated[float, Field(ge=1)] = Field(1.25, description="A new length must be better by this factor of its ideal.")
    hold_ms: Annotated[int, Field(ge=0)] = Field(8_000, description="A length holds at least this long.")
    requests_per_object: Annotated[float, Field(ge=0)] = Field(
        1.0, description="Requests per object that reach the origin, before measured."
    )
    slice_share_max: Share = Field(
        0.05, description="Largest share of the smallest packager that a slice may take before it is dealt finer: max/mean at most 1.05."
    )
    slices_max: Positive = Field(16, description="Slices that a channel is dealt into at most, groups times turns; 1: whole channels.")
    copies_max: Annotated[int, Field(ge=1, le=2)] = Field(
        2, description="Packagers that make the same where much is at stake; 1: never two."
    )
    copies_viewers: Positive = Field(50, description="Viewers of parts from which a second packager makes the same, while there is room.")
    deal_hold_ms: Annotated[int, Field(ge=0)] = Field(
        60_000, description="How work is dealt (groups, turns, fewer copies) holds at least this long: each change costs handovers."
    )
    changes_per_tick_max: Positive = Field(64, description="Lengths and deals changed per decision; levels are not limited.")


class AssignmentSettings(_Section):
    """Who does which slice."""

    strategy: Literal["least_loaded", "round_robin", "weighted_round_robin", "power_of_two", "bounded_hash"] = Field(
        "least_loaded", description="How holders are picked; `make bench ARGS=assignment` compares."
    )
    utilisation_max: Share = Field(0.85, description="Share of a packager's capacity that is dealt out.")
    moves_per_tick_max: Positive = Field(8, description="Voluntary moves per decision; work of the dead is not limited.")
    part_ms_budget: Annotated[float, Field(gt=0)] = Field(
        150.0, description="Part work that may fall due at one instant at a packager, for each of its cores."
    )


class ScalingSettings(_Section):
    """How many packagers are wanted."""

    target_utilisation: Share = Field(0.6, description="Use that scaling aims at; the rest is headroom.")
    startup_ms: Positive = Field(5_000, description="Time a packager needs to start; the horizon looked at.")
    stabilise_ms: Positive = Field(60_000, description="Scale-in waits until the need was lower for this long.")
    spare: Annotated[int, Field(ge=0)] = Field(0, description="Packagers that may die while the rest carry all; in production 1 or more.")
    packagers_min: Positive = Field(1, description="Never fewer.")
    packagers_max: Positive = Field(200, description="Never more.")

    @model_validator(mode="after")
    def _relations(self) -> Self:
        if self.packagers_min > self.packagers_max:
            raise ValueError("packagers_min must not exceed packagers_max")
        return self


class ForecastSettings(_Section):
    """The demand models."""

    horizons_ms: tuple[int, ...] = Field((2_000, 5_000, 15_000, 60_000, 300_000), description="How far ahead.")
    step_ms: Positive = Field(1_000, description="Time between forecasts.")


class PlannerSettings(_Section):
    """The deciding loop."""

    tick_ms: Positive = Field(100, description="Time between decisions when nothing is urgent.")
    restate_ms: Positive = Field(MINUTE_MS, description="The whole is restated this often.")
    memory_ms: Positive = Field(5 * MINUTE_MS, description="How far back the folds that decisions read remember.")
    channel_silence_ms: Positive = Field(30_000, description="A channel without chunks for this long is not placed anew.")
    demand: Literal["forecast", "last_value"] = Field("forecast", description="What is prepared for: the forecast, or what is there now.")


class ControlSettings(_Section):
    """The control plane's process."""

    host: str = Field("127.0.0.1", description="Where metrics are served.")
    port: int = Field(6066, description="Port of the metrics; 0: a free one.")
    session_timeout_ms: Positive = Field(3_000, description="Kafka's session timeout: takeover by another worker.")
    stuck_after_ms: Positive = Field(20_000, description="A loop that stands still this long ends the process.")
    rows_every_ms: Positive = Field(
        4_000, description="Rows of tables that changed are written this often; what was folded since is read again after a crash."
    )
    data_dir: Path = Field(Path(".finecut/control"), description="Where Faust keeps its files.")


class PackagerSettings(_Section):
    """One packager process."""

    cores: Annotated[float, Field(ge=0)] = Field(0.0, description="CPU cores it may use; 0: those of its affinity and cgroup.")
    tail_bytes_max: Positive = Field(
        64 * 2**20, description="Chunks held in memory, over all media partitions; fewer if its memory limit leaves less."
    )
    fetch_bytes_max: Positive = Field(8 * 2**20, description="Bytes Kafka's client queues per partition.")
    catch_up_share: Share = Field(0.5, description="Share of its time that catching up may take while a live edge is followed.")
    publish_retry_ms: Positive = Field(30_000, description="How long a failing store is retried before a failure is reported.")
    drain_ms: Positive = Field(10_000, description="How long a drain may take.")
    metrics_host: str = Field("127.0.0.1", description="Where metrics are served.")
    metrics_port: int = Field(0, description="Port of the metrics; 0: a free one.")


class OriginSettings(_Section):
    """One origin process."""

    host: str = Field("127.0.0.1", description="Where it listens.")
    port: int = Field(8080, description="Port; 0: a free one.")
    certificate: Path | None = Field(None, description="TLS certificate (PEM), for HTTP/2 in browsers.")
    private_key: Path | None = Field(None, description="Its private key (PEM).")
    session_timeout_ms: Positive = Field(10_000, description="A client silent for this long has left.")
    blocked_ms_max: Positive = Field(12_000, description="Longest wait of a blocking request; then 503 (media rule 16).")
    connections_max: Positive = Field(16_384, description="Connections open at once; those beyond wait until one is closed.")
    waiting_max: Positive = Field(20_000, description="Requests that may wait for media at once; then 503.")
    sessions_max: Positive = Field(100_000, description="Sessions kept; beyond it new ones are counted, not told apart.")
    staleness_ms_max: Positive = Field(10_000, description="Behind its topics by more than this it answers 503.")


class StoreSettings(_Section):
    """Where objects go."""

    directory: Path = Field(Path(".finecut/store"), description="Folder of the directory store.")
    free_bytes_min: Positive = Field(64 * 2**20, description="Free space below which publishing fails with a clear error.")
    sync: bool = Field(False, description="Whether an object is on disk before it is announced, so that a power cut leaves none torn.")
    sweep_margin_ms: Positive = Field(
        MINUTE_MS, description="How long `sweep` keeps objects beyond what players may ask for: clocks differ, packagers are late."
    )
    sweep_every_ms: Positive = Field(30_000, description="Time between two sweeps of `up`.")


class Settings(BaseSettings):
    """Everything, frozen."""

    model_config = SettingsConfigDict(
        frozen=True,
        env_prefix="FINECUT_",
        env_nested_delimiter="__",
        extra="forbid",
        toml_file="finecut.toml",
        hide_input_in_errors=True,
    )

    kafka: KafkaSettings = KafkaSettings()
    media: MediaSettings = MediaSettings()
    ingest: IngestSettings = IngestSettings()
    liveness: LivenessSettings = LivenessSettings()
    granularity: GranularitySettings = GranularitySettings()
    assignment: AssignmentSettings = AssignmentSettings()
    scaling: ScalingSettings = ScalingSettings()
    forecast: ForecastSettings = ForecastSettings()
    planner: PlannerSettings = PlannerSettings()
    control: ControlSettings = ControlSettings()
    packager: PackagerSettings = PackagerSettings()
    origin: OriginSettings = OriginSettings()
    store: StoreSettings = StoreSettings()
    idle_level: Level = Field(Level.OFF, description="What an unwatched channel gets unless its encoder asks for more.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    state_dir: Path = Field(Path(".finecut"), description="Where `demo`, `up` and `status` keep their files.")

    @model_validator(mode="after")
    def _relations(self) -> Self:
        if self.planner.memory_ms < 2 * self.media.time_shift_ms:
            raise ValueError("planner.memory_ms must cover 2 x media.time_shift_ms: backlog is caught up from what it remembers")
        if self.kafka.media_retention_ms < self.media.time_shift_ms:
            raise ValueError("kafka.media_retention_ms must outlast media.time_shift_ms: late segments are made from the log")
        if self.origin.blocked_ms_max < 3 * self.media.target_duration_ms:
            raise ValueError("origin.blocked_ms_max must be at least 3 x media.target_duration_ms (media rule 16)")
        if self.control.stuck_after_ms < 2 * self.control.rows_every_ms:
            raise ValueError("control.stuck_after_ms must be at least 2 x control.rows_every_ms: nothing is committed before it is written")
        if self.planner.memory_ms <= self.granularity.idle_ms:
            raise ValueError("planner.memory_ms must outlast granularity.idle_ms: idleness is seen in what it remembers")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load() -> Settings:
    """
    The settings of this process.

    Raises:
        UserError: A setting is unknown, out of range, or contradicts another.
    """
    try:
        return Settings()
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            where = "__".join(str(part) for part in problem["loc"])
            what = "there is no such setting" if problem["type"] == "extra_forbidden" else problem["msg"].removeprefix("Value error, ")
            lines.append(f"{'FINECUT_' + where.upper() if where else 'settings'}: {what}")
        raise UserError("; ".join(lines), do="correct it in the environment or in finecut.toml; all are in infra/SETTINGS.md") from error
