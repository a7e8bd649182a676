"""Forecasts of a pool: sessions and joins per second of all its channels, at horizons from two seconds to five minutes, side by side."""

from collections.abc import Iterable, Mapping

import numpy as np

from schemas.records import ChannelForecast, HorizonForecast
from schemas.units import Ms, UnixMs
from streams.models.history import checked
from streams.models.rows import Rows, Vector
from streams.models.score import ErrorSoFar
from streams.models.series import SeriesForecaster, quick_experts

HORIZONS_MS = (Ms(2_000), Ms(5_000), Ms(15_000), Ms(60_000), Ms(300_000))
SAMPLE_MS = Ms(1_000)
STEP_MS = Ms(5_000)
"""Forecasts are made once per step; horizons beyond it are forecast from means over steps."""
GAP_MS_MAX = 600_000
"""A longer silence of the whole pool is another audience: begin again."""
KINDS = 2
"""Each channel has two series in turn: sessions, joins."""
DECIMALS = 4
"""Of what is said of sessions and of joins per second."""
LEND_STEPS = 12
"""Between two looks at what the pool has in common."""
LENDER_STEPS = 24
"""A channel's own models count in what is lent after so many steps, two minutes."""

Seen = Mapping[str, tuple[float, float]]


class PoolForecaster:
    """
    Online forecaster of all channels of a pool, in memory bounded by their number.

    A new channel begins with the regressions, weights of experts and widths of bands that the channels of the pool have in common.

    Args:
        horizons_ms: Rising, above 0. Those up to the step are forecast from samples, longer ones from means over steps; rounded up.
        sample_ms: Time between samples.
        step_ms: Time between forecasts, a multiple of it.
        borrows: Whether new channels begin with what the pool has learned.

    Attributes:
        horizons_ms: As given.
        edition: Rises whenever the forecasts may have changed.

    Raises:
        ValueError: The times do not fit together.

    >>> pool = PoolForecaster()
    >>> pool.learn(UnixMs(1_000), {"news": (40, 0.5)})
    True
    >>> [round(ahead.sessions_p50) for ahead in pool.forecast()[0].horizons]
    [40, 40, 40, 40, 40]
    """

    def __init__(
        self, *, horizons_ms: tuple[Ms, ...] = HORIZONS_MS, sample_ms: Ms = SAMPLE_MS, step_ms: Ms = STEP_MS, borrows: bool = True,
    ) -> None:  # fmt: skip
        if not horizons_ms or horizons_ms[0] <= 0 or list(horizons_ms) != sorted(set(horizons_ms)):
            raise ValueError(f"horizons {horizons_ms!r} must rise from above 0")
        if not 0 < sample_ms <= step_ms or step_ms % sample_ms:
            raise ValueError(f"a step of {step_ms} ms is no multiple of a sample of {sample_ms} ms")
        near = [-(-horizon // sample_ms) for horizon in horizons_ms if horizon <= step_ms and sample_ms < step_ms]
        far = [-(-horizon // step_ms) for horizon in horizons_ms[len(near) :]]
        self.horizons_ms = horizons_ms
        self.edition = 0
        self._sample_ms, self._steps, self._borrows = sample_ms, step_ms // sample_ms, borrows
        self._near_steps, self._far_steps = tuple(sorted(set(near))), tuple(sorted(set(far)))
        # Several horizons may come to the same number of steps: they are forecast once.
        self._near_of = [self._near_steps.index(steps) for steps in near]
        self._far_of = [self._far_steps.index(steps) for steps in far]
        self._begin()

    def _begin(self) -> None:
        self._rows: dict[str, int] = {}
        self._free: list[int] = []
        self._newest: int | None = None
        self._values = np.zeros(0)
        self._totals, self._samples = np.zeros(0), np.zeros(0)
        self._near = SeriesForecaster(self._near_steps, rows=0, kinds_count=KINDS, experts=quick_experts) if self._near_steps else None
        self._far = SeriesForecaster(self._far_steps, rows=0, kinds_count=KINDS) if self._far_steps else None

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels known, by id."""
        return tuple(sorted(self._rows))

    def learn(self, at: UnixMs, seen: Seen) -> bool:
        """
        The next sample of every channel: sessions, and joins per second. At the end of each step the forecasts are made anew.

        A channel not seen before arrives. One that is not named keeps its sessions, and nobody joins; so it is for missing samples.
        After a silence of more than ten minutes everything is forgotten.

        Returns:
            Whether it was learned: a sample not after the newest one is not.

        Raises:
            ValueError: A value is not a finite number >= 0; nothing is learned.
        """
        values = {channel: (checked(sessions), checked(joins)) for channel, (sessions, joins) in seen.items()}
        sample = at // self._sample_ms
        if self._newest is not None:
            if sample <= self._newest:
                return False
            if (sample - self._newest) * self._sample_ms > GAP_MS_MAX:
                self._begin()
            else:
                for missing in range(self._newest + 1, sample):
                    self._learn(missing)
        if new := [channel for channel in values if channel not in self._rows]:
            self._arrive(sorted(new))
            self.edition += 1
        self._values[1::KINDS] = 0.0
        for channel, pair in values.items():
            row = self._rows[channel]
            self._values[row : row + KINDS] = pair
        self._learn(sample)
        return True

    def _learn(self, sample: int) -> None:
        self._newest = sample
        if not self._rows:
            return
        ends_step = sample % self._steps == self._steps - 1
        values = self._values.copy()
        if self._near:
            self._near.learn(values, opens_origin=ends_step)
        self._totals += values
        self._samples += 1
        if ends_step:
            self.edition += 1
            if self._far:
                self._far.learn(self._totals / self._samples)
            self._totals[:], self._samples[:] = 0.0, 0.0
            if self._borrows and sample // self._steps % LEND_STEPS == 0:
                self._lend()
        self._values[1::KINDS] = 0.0

    def _lend(self) -> None:
        ages = self._first.counts
        steps = LENDER_STEPS * (self._steps if self._near else 1)
        old = [row for _, row in sorted(self._rows.items()) if ages[row] >= steps]
        if old:
            lenders = _both(old)
            for forecaster in self._forecasters:
                forecaster.lend(lenders)

    @property
    def _forecasters(self) -> tuple[SeriesForecaster, ...]:
        return tuple(forecaster for forecaster in (self._near, self._far) if forecaster)

    @property
    def _first(self) -> SeriesForecaster:
        return self._forecasters[0]

    def _arrive(self, channels: list[str]) -> None:
        if len(channels) > len(self._free):
            before = self._values.size // KINDS
            after = max(before + len(channels) - len(self._free), before + before // 4)
            self._free += range(before * KINDS, after * KINDS, KINDS)
            self._take(np.arange(before * KINDS), more=(after - before) * KINDS)
            self._start(np.arange(before * KINDS, after * KINDS))
        rows = [self._free.pop(0) for _ in channels]
        self._rows.update(zip(channels, rows, strict=True))
        self._start(_both(rows))

    def forget(self, channels: Iterable[str]) -> None:
        """Channels left; what they taught the pool stays."""
        gone = [self._rows.pop(channel) for channel in sorted(set(channels)) if channel in self._rows]
        self.edition += bool(gone)
        self._free += gone
        self._free.sort()
        if self._values.size > 4 * KINDS * max(1, len(self._rows)):  # most rows are empty: close ranks
            kept = sorted(self._rows, key=lambda channel: self._rows[channel])
            self._take(_both([self._rows[channel] for channel in kept]))
            self._rows = {channel: KINDS * number for number, channel in enumerate(kept)}
            self._free = []

    def _take(self, kept: Rows, more: int = 0) -> None:
        for forecaster in self._forecasters:
            forecaster.take(kept, more)
        self._values, self._totals, self._samples = (np.concatenate((array[kept], np.zeros(more))) for array in self._plain)

    def _start(self, rows: Rows) -> None:
        for forecaster in self._forecasters:
            forecaster.begin(rows)
        for array in self._plain:
            array[rows] = 0.0

    @property
    def _plain(self) -> tuple[Vector, Vector, Vector]:
        return self._values, self._totals, self._samples

    def relearn(self, series: Iterable[tuple[UnixMs, Seen]]) -> None:
        """Forget everything, then learn samples in order: the state is as if it had learned nothing else."""
        self._begin()
        for at, seen in series:
            self.learn(at, seen)

    def forecast(self) -> tuple[ChannelForecast, ...]:
        """Forecasts of the newest step, by id of the channel."""
        if not self._rows:
            return ()
        # Rounding keeps the order of quantiles, and makes the record a third as long where it is compressed or written as text.
        p50, p90 = (said.round(DECIMALS).T.tolist() for said in self._said())
        first = self._first
        score, leaders = first.scores, first.leaders[0].tolist()
        return tuple(
            ChannelForecast(
                channel=channel,
                horizons=tuple(
                    HorizonForecast(horizon_ms=horizon_ms, sessions_p50=s50, sessions_p90=s90, joins_p50=j50, joins_p90=j90)
                    for horizon_ms, s50, s90, j50, j90 in zip(self.horizons_ms, p50[row], p90[row], p50[row + 1], p90[row + 1], strict=True)
                ),
                mae=round(float(score.mae[0, row]), DECIMALS),
                mae_last_value=round(float(score.mae_last[0, row]), DECIMALS),
                model=first.names[leaders[row]],
            )
            for channel, row in sorted(self._rows.items())
        )

    def errors(self, channel: str) -> tuple[tuple[ErrorSoFar, ...], tuple[ErrorSoFar, ...]]:
        """How well each horizon of a channel was forecast so far: of sessions, and of joins. Horizons of equal steps share one."""
        row = self._rows[channel]
        sessions, joins = (
            (self._near.errors(row + kind) if self._near else (), self._far.errors(row + kind) if self._far else ())
            for kind in range(KINDS)
        )
        return self._spread(*sessions), self._spread(*joins)

    def _spread(self, near: tuple[ErrorSoFar, ...], far: tuple[ErrorSoFar, ...]) -> tuple[ErrorSoFar, ...]:
        return (*(near[index] for index in self._near_of), *(far[index] for index in self._far_of))

    def _said(self) -> tuple[Vector, Vector]:
        """Horizons x rows: medians and upper quantiles."""
        p50, p90 = [], []
        if self._near:
            p50.append(self._near.p50[self._near_of])
            p90.append(self._near.p90[self._near_of])
        if self._far:
            far50, far90 = self._far.p50[self._far_of], self._far.p90[self._far_of]
            if not self._far.counts.all():  # no step of the channel has ended yet: what is said of the next seconds, or its last value
                new = self._far.counts == 0
                far50[:, new] = p50[0][-1][new] if p50 else self._values[new]
                far90[:, new] = p90[0][-1][new] if p90 else self._values[new]
            p50.append(far50)
            p90.append(far90)
        return np.concatenate(p50), np.concatenate(p90)


def _both(rows: Iterable[int]) -> Rows:
    """Both rows of each channel."""
    return np.array([row + kind for row in rows for kind in range(KINDS)], np.intp)
