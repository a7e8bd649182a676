"""What a scenario file says: channels, audience, pool, policy, scaler, players, faults, each with its defaults and ranges."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.records import Cost, Level
from schemas.settings import (
    AssignmentSettings,
    GranularitySettings,
    LivenessSettings,
    MediaSettings,
    PlannerSettings,
    ScalingSettings,
)
from streams.core.policy import Policy
from streams.simulate.scenario.units import UNITS_MS, Moment, Span

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
CHANNELS_MAX = 5_000
STEPS_MAX = 1_000_000


class Table(BaseModel):
    """A table of the file: nothing unknown is taken."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Times(Table):
    """When channels are live, from a file of starts and ends; without it all are live from the beginning to the end."""

    file: str = Field(description="CSV with a header, beside the scenario or in FINECUT_DATA.")
    start: str = Field("start_utc", description="Column of starts.")
    end: str = Field("end_utc", description="Column of ends.")
    beginning: datetime = Field(description="The instant of the file at which the simulation begins.")


class Channels(Table):
    """The channels; all have the same shape."""

    count: Annotated[int, Field(ge=1, le=CHANNELS_MAX)] = Field(4, description="At most so many, with times; else exactly.")
    video_kbps: tuple[Positive, ...] = Field((400.0, 900.0, 1_500.0), description="Bit rate of each rendition.")
    audio_kbps: tuple[Positive, ...] = Field((96.0,), description="Bit rate of each sound track.")
    gop: Span = Field(1_000, description="Length of a GOP, whole frames of 40 ms.")
    part: Span = Field(500, description="Length of a part, about.")
    target: Span = Field(4_000, description="Target duration.")
    idle_level: Level = Field(Level.OFF, description="What is packaged while nobody watches: off, segments, parts.")
    low_latency_share: Share = Field(0.25, description="Share of channels that have viewers who fetch parts or read open segments.")
    times: Times | None = Field(None, description="When channels are live; none: all are, from the beginning to the end.")

    @model_validator(mode="after")
    def _relations(self) -> Self:
        if not self.video_kbps:
            raise ValueError("video_kbps: at least one rendition")
        if self.target % 1_000 or self.target < self.gop:
            raise ValueError("target: whole seconds, at least one gop")
        if self.gop % 40 or self.part > self.gop:
            raise ValueError("gop: whole frames of 40 ms; part: no longer than a gop")
        return self


class Series(Table):
    """One recorded series."""

    file: str = Field(description="CSV with a header, beside the scenario or in FINECUT_DATA.")
    column: str = Field(description="Column of the values.")
    step: Span = Field(description="Time between two rows.")
    skip: Moment = Field(0, description="Left out at its beginning.")


class Audience(Table):
    """Who comes: a shape in time, spread over the channels by their popularity."""

    kind: Literal["constant", "ramp", "flash", "trace"] = Field("constant", description="Shape in time: constant, ramp, flash, trace.")
    viewers: NotNegative = Field(100.0, description="Mean viewers over all channels.")
    per_channel: NotNegative = Field(0.0, description="Above 0: instead, mean viewers of a live channel.")
    zipf: NotNegative = Field(0.0, description="Viewers of the channel of rank k are in proportion to k to the power of minus this.")
    stay: Span = Field(15 * 60_000, description="Mean time a viewer stays on a channel.")
    to: NotNegative = Field(0.0, description="ramp: viewers at the end.")
    at: Moment = Field(0, description="flash: when it begins.")
    rise: Span = Field(60_000, description="flash: time to its peak.")
    hold: Span = Field(10 * 60_000, description="flash: time at its peak, and until it is gone.")
    factor: Annotated[float, Field(ge=1)] = Field(10.0, description="flash: peak viewers of the channels hit, in usual ones.")
    hit: Share = Field(1.0, description="flash: share of channels hit, the most popular first.")
    series: tuple[Series, ...] = Field((), description="trace: recorded series; channels take them in turn: a composition.")

    @model_validator(mode="after")
    def _relations(self) -> Self:
        if (self.kind == "trace") != bool(self.series):
            raise ValueError("series: at least one with kind 'trace', none with any other")
        return self


class Costs(Table):
    """Core-seconds that work takes; the defaults are what the models start from."""

    per_segment: NotNegative = Field(Cost().per_segment, description="Per segment and track.")
    per_part: NotNegative = Field(Cost().per_part, description="Per part and track.")
    per_chunk: NotNegative = Field(Cost().per_chunk, description="Per chunk.")
    per_byte: NotNegative = Field(Cost().per_byte, description="Per byte.")
    per_request: NotNegative = Field(Cost().per_request, description="Per request at an origin.")


class Pool(Table):
    """The packagers."""

    packagers: Count = Field(2, description="Running at the beginning.")
    cores: Positive = Field(2.0, description="Of one packager.")
    cores_per_slice: Positive = Field(1.0, description="A slice is made by one thread.")
    startup: Span = Field(5_000, description="From the order to the first heartbeat.")
    handover: Moment = Field(150, description="From an assignment to its first chunk read.")
    publish: Moment = Field(20, description="From a part being made to its being told of.")
    cost: Costs = Costs()


class Scaler(Table):
    """Who says how many packagers there are."""

    kind: Literal["finecut", "hpa", "keda", "fixed"] = Field("finecut", description="finecut: as decisions want; hpa, keda, fixed.")
    packagers: Count = Field(1, description="fixed: so many.")
    least: Count = Field(1, description="Never fewer.")
    most: Count = Field(200, description="Never more.")
    target: Annotated[float, Field(gt=0, le=1)] = Field(0.6, description="hpa: share of a packager's cores aimed at.")
    sync: Span = Field(15_000, description="hpa, keda: time between two looks of the autoscaler.")
    tolerance: Share = Field(0.1, description="hpa, keda: a ratio so near to one changes nothing.")
    stabilise: Span = Field(300_000, description="hpa, keda: scale-in takes the highest word of so long.")
    poll: Span = Field(30_000, description="keda: time between two readings of the lag.")
    lag_chunks: Positive = Field(1_000.0, description="keda: chunks of lag that one packager is wanted for; about a second of a full one.")

    @model_validator(mode="after")
    def _relations(self) -> Self:
        if self.least > self.most:
            raise ValueError("least must not exceed most")
        return self


class Players(Table):
    """Viewers' clients: whole segments, parts, open segments read in chunks."""

    parts_share: Share = Field(0.3, description="Of viewers of channels that have low latency: LL-HLS.")
    chunked_share: Share = Field(0.2, description="Of the same: LL-DASH.")
    whole_buffer: Moment = Field(0, description="Distance from the live edge; 0: three targets.")
    parts_buffer: Moment = Field(0, description="The same; 0: three parts.")
    chunked_buffer: Span = Field(2_500, description="The same.")
    caches: Annotated[int, Field(ge=0)] = Field(1, description="Caches in front of origins, each asking once per object; 0: none.")
    rtt: Moment = Field(40, description="Round trip; joining takes four before the first media byte.")
    phi: tuple[Positive, ...] = Field((0.08, 0.15, 0.2, 0.3, 0.5), description="Bit rate over throughput, equally likely values.")

    @model_validator(mode="after")
    def _relations(self) -> Self:
        if self.parts_share + self.chunked_share > 1.0:
            raise ValueError("parts_share and chunked_share together are at most 1")
        if not self.phi:
            raise ValueError("phi: at least one value")
        return self


class Faults(Table):
    """Packagers that are killed."""

    kill: tuple[Moment, ...] = Field((), description="After the warm-up: a working packager, any of them, is killed.")
    kills_per_hour: NotNegative = Field(0.0, description="The same at random times.")
    restart: bool = Field(True, description="Whether whoever was killed comes back under its name; else whoever scales replaces it.")


class PolicySections(Table):
    """Any setting that decisions read."""

    assignment: AssignmentSettings = AssignmentSettings()
    granularity: GranularitySettings = GranularitySettings()
    liveness: LivenessSettings = LivenessSettings()
    media: MediaSettings = MediaSettings()
    planner: PlannerSettings = PlannerSettings()
    scaling: ScalingSettings = ScalingSettings()

    def policy(self) -> Policy:
        """The policy they make."""
        return Policy(**{name: getattr(self, name) for name in type(self).model_fields})


class Scenario(Table):
    """A whole scenario."""

    about: str = Field("", description="What it is, in a sentence.")
    duration: Span = Field(10 * 60_000, description="What is counted.")
    warmup: Moment = Field(0, description="Before it: nothing of it is counted.")
    step: Span = Field(
        1_000, description="Between two times that all is heard and decided; faults and starts come between. 1 s in detail, 1 min for days."
    )
    seed: Annotated[int, Field(ge=0)] = Field(1, description="Determines all chance.")
    forecast: Literal["models", "last_value", "none"] = Field("models", description="What makes forecasts; none: there are none.")
    channels: Channels = Channels()
    audience: Audience = Audience()
    pool: Pool = Pool()
    policy: PolicySections = PolicySections()
    scaler: Scaler = Scaler()
    players: Players = Players()
    faults: Faults = Faults()

    @property
    def end(self) -> int:
        """When it ends, since its beginning."""
        return self.warmup + self.duration

    @model_validator(mode="after")
    def _relations(self) -> Self:
        if self.duration < self.step or self.step < UNITS_MS["s"] // 10:
            raise ValueError("step: at least 100 ms and no longer than duration")
        if self.end // self.step > STEPS_MAX:
            raise ValueError(f"duration / step: at most {STEPS_MAX} steps")
        if any(at >= self.duration for at in (*self.faults.kill, self.audience.at)):
            raise ValueError("faults.kill and audience.at lie before the end")
        return self
