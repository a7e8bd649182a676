"""
Heartbeats, and what is held against who sends them, to alive, suspect, draining or dead.

Only death is remembered (in decisions). The rest follows from the last heartbeats and the time. A packager is declared dead for silence
only while another, heard without a gap for as long, bears witness that heartbeats do arrive: when nobody is heard, the fault is ours. That
silence ends with the newest heartbeat that was read, not with the time: what was not read yet may break it. So death follows from the log
alone, and who died of it reads it there.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from schemas.records import DeadLife, Load, PackagerState, Reason
from schemas.settings import LivenessSettings
from schemas.topics import life_key
from schemas.units import UnixMs
from streams.core.rows import HeartbeatRow, Pulse

# A silence of this share of a pool, and of this many, is a fault of ours until `mass_hold_ms` has passed.
MASS_COUNT = 3
MASS_SHARE = 0.3


class Status(StrEnum):
    """What we believe of one life of a packager."""

    ALIVE = "alive"
    SUSPECT = "suspect"
    DRAINING = "draining"
    DEAD = "dead"


class Sign(StrEnum):
    """What was last heard, or not heard, of a life."""

    BEAT = "beat"
    MISSED = "missed"
    SILENT = "silent"
    DRAIN = "drain"
    LATE = "late"
    STUCK = "stuck"
    FAILING = "failing"
    RESTING = "resting"
    LEAVE = "leave"
    REPLACED = "replaced"


# Status remembered and sign to status believed; only death is remembered, and it is final.
NEXT: dict[tuple[Status, Sign], Status] = {
    (Status.ALIVE, Sign.BEAT): Status.ALIVE,
    (Status.ALIVE, Sign.MISSED): Status.SUSPECT,
    (Status.ALIVE, Sign.DRAIN): Status.DRAINING,
    (Status.ALIVE, Sign.LATE): Status.SUSPECT,
    (Status.ALIVE, Sign.RESTING): Status.SUSPECT,
    (Status.ALIVE, Sign.SILENT): Status.DEAD,
    (Status.ALIVE, Sign.STUCK): Status.DEAD,
    (Status.ALIVE, Sign.FAILING): Status.DEAD,
    (Status.ALIVE, Sign.LEAVE): Status.DEAD,
    (Status.ALIVE, Sign.REPLACED): Status.DEAD,
    **{(Status.DEAD, sign): Status.DEAD for sign in Sign},
}

DEATHS = {
    Sign.SILENT: Reason.PACKAGER_DEAD,
    Sign.STUCK: Reason.LATE,
    Sign.FAILING: Reason.FAILED_THRICE,
    Sign.REPLACED: Reason.PACKAGER_DEAD,
    Sign.LEAVE: Reason.PACKAGER_GONE,
}
# Signs that no heartbeat gave, and reasons of death that are not the end of a process.
UNHEARD = {Sign.SILENT, Sign.STUCK, Sign.FAILING}
CHARGED = {Reason.LATE, Reason.FAILED_THRICE}


@dataclass(frozen=True, kw_only=True, slots=True)
class Charges:
    """
    What is held against lives of packagers besides silence.

    Attributes:
        late: Lives that are late while others are in time, by ``packager/life``.
        stuck: The one of those that is dead for it, if any.
        failing: Lives that failed again and again with what others made.
        resting: Names of which a life died of that lately: no work for them while there are others.
    """

    late: Collection[str] = ()
    stuck: str | None = None
    failing: Collection[str] = ()
    resting: Collection[str] = ()


NO_CHARGES = Charges()


@dataclass(frozen=True, kw_only=True, slots=True)
class Packager:
    """
    One life of a packager as a decision sees it.

    Attributes:
        packager_id: Name.
        life: Run.
        status: What we believe.
        capacity: What it says it can carry.
        reason: Why its work moves, if it does.
        offset: Offset of the heartbeat that says so; absent when silence does.
        at_unix_ms: Broker time of that heartbeat; 0 when silence says so.
    """

    packager_id: str
    life: str
    status: Status
    capacity: Load
    reason: Reason = Reason.STEADY
    offset: int | None = None
    at_unix_ms: UnixMs = UnixMs(0)


def judge(
    rows: Iterable[HeartbeatRow],
    dead: Mapping[str, DeadLife],
    settings: LivenessSettings,
    *,
    now: UnixMs,
    charges: Charges = NO_CHARGES,
) -> tuple[tuple[Packager, ...], tuple[DeadLife, ...]]:
    """
    Every life heard within memory, by name and life, and those that are declared dead now.

    Args:
        rows: Recent heartbeats.
        dead: Lives declared dead before, by ``packager/life``.
        settings: Thresholds.
        now: Time of the decision.
        charges: What is held against them.
    """
    pulses = sorted((p for row in rows for p in row.pulses), key=lambda p: (p.heartbeat.packager_id, p.heartbeat.life))
    living = [pulse for pulse in pulses if _key(pulse) not in dead]
    replaced_by = _replaced(living)
    open_lives = [p for p in living if _key(p) not in replaced_by and p.heartbeat.state is not PackagerState.GONE]
    heard = max((pulse.at_unix_ms for pulse in open_lives), default=UnixMs(0))
    silent_after = _silent_after(open_lives, settings, heard=heard, now=now)
    signs = {
        _key(pulse): Sign.REPLACED
        if _key(pulse) in replaced_by
        else _charged(pulse, _sign(pulse, settings, silent_after, heard=heard, now=now), charges)
        for pulse in pulses
    }
    if not any(sign is Sign.BEAT and key not in dead for key, sign in signs.items()):
        # Who should rest works while nobody else can.
        signs = {key: Sign.BEAT if sign is Sign.RESTING else sign for key, sign in signs.items()}
    packagers, deaths = [], []
    for pulse in pulses:
        key, beat = _key(pulse), pulse.heartbeat
        before, sign = Status.DEAD if key in dead else Status.ALIVE, signs[_key(pulse)]
        status = NEXT[before, sign]
        source = None if sign in UNHEARD else replaced_by.get(key, pulse)
        reason = DEATHS.get(sign, Reason.PACKAGER_DRAINING if status is Status.DRAINING else Reason.STEADY)
        reason = dead[key].reason if key in dead else reason
        packagers.append(
            Packager(
                packager_id=beat.packager_id,
                life=beat.life,
                status=status,
                capacity=beat.capacity,
                # Whoever loses a slice to a death can tell that it was declared dead, whatever for.
                reason=Reason.PACKAGER_DEAD if reason in CHARGED else reason,
                offset=source.offset if source else None,
                at_unix_ms=source.at_unix_ms if source else UnixMs(0),
            )
        )
        if status is Status.DEAD and before is not Status.DEAD:
            deaths.append(DeadLife(packager_id=beat.packager_id, life=beat.life, at_unix_ms=now, reason=reason))
    return tuple(packagers), tuple(deaths)


@dataclass(frozen=True, kw_only=True, slots=True)
class Suspicion:
    """
    Silence in a pool.

    Attributes:
        count: Lives neither dead nor gone of which too little was heard lately.
        is_held: Whether they are so many at once that the fault is taken to be ours: none of them dies of it before ``mass_hold_ms``.
    """

    count: int
    is_held: bool


def suspicion(rows: Iterable[HeartbeatRow], dead: Mapping[str, DeadLife], settings: LivenessSettings, *, now: UnixMs) -> Suspicion:
    """How many lives are silent, and whether that is held against us rather than them."""
    living = [pulse for row in rows for pulse in row.pulses if _key(pulse) not in dead]
    replaced_by = _replaced(living)
    lives = [p for p in living if _key(p) not in replaced_by and p.heartbeat.state is not PackagerState.GONE]
    suspects = _suspects(lives, settings, now)
    return Suspicion(count=len(suspects), is_held=_is_mass(suspects, lives))


def _key(pulse: Pulse) -> str:
    return life_key(pulse.heartbeat.packager_id, pulse.heartbeat.life)


def _started(pulse: Pulse) -> tuple[int, int, str]:
    """When a life began, as its own count of heartbeats tells: the same wherever reading began."""
    beat = pulse.heartbeat
    return pulse.at_unix_ms - beat.number * beat.interval_ms, pulse.offset, beat.life


def _replaced(living: list[Pulse]) -> dict[str, Pulse]:
    """Lives ended by a younger one of their name, and that one."""
    youngest: dict[str, Pulse] = {}
    for pulse in living:
        name = pulse.heartbeat.packager_id
        if name not in youngest or _started(pulse) > _started(youngest[name]):
            youngest[name] = pulse
    return {_key(p): youngest[p.heartbeat.packager_id] for p in living if p is not youngest[p.heartbeat.packager_id]}


def _silent_after(lives: list[Pulse], settings: LivenessSettings, *, heard: UnixMs, now: UnixMs) -> int | None:
    """Silence after which a life is dead; None while nobody bears witness."""
    witnesses = [
        pulse
        for pulse in lives
        if heard - pulse.at_unix_ms < settings.suspect_after_ms and heard - pulse.steady_unix_ms >= settings.dead_after_ms
    ]
    if not witnesses:
        return None
    is_mass = _is_mass(_suspects(lives, settings, now), lives)
    return max(settings.mass_hold_ms, settings.dead_after_ms) if is_mass else settings.dead_after_ms


def _suspects(lives: list[Pulse], settings: LivenessSettings, now: UnixMs) -> list[Pulse]:
    return [pulse for pulse in lives if now - pulse.at_unix_ms >= settings.suspect_after_ms]


def _is_mass(suspects: list[Pulse], lives: list[Pulse]) -> bool:
    return len(suspects) >= MASS_COUNT and len(suspects) > MASS_SHARE * len(lives)


def _charged(pulse: Pulse, sign: Sign, charges: Charges) -> Sign:
    """The sign of a life with what is held against it: that counts for those alone that are heard and stay."""
    key = _key(pulse)
    if sign is not Sign.BEAT:
        return sign
    if key in charges.failing:
        return Sign.FAILING
    if key == charges.stuck:
        return Sign.STUCK
    if key in charges.late:
        return Sign.LATE
    return Sign.RESTING if pulse.heartbeat.packager_id in charges.resting else Sign.BEAT


def _sign(pulse: Pulse, settings: LivenessSettings, silent_after: int | None, *, heard: UnixMs, now: UnixMs) -> Sign:
    if pulse.heartbeat.state is PackagerState.GONE:
        return Sign.LEAVE
    if silent_after is not None and heard - pulse.at_unix_ms >= silent_after:
        return Sign.SILENT
    if now - pulse.at_unix_ms >= settings.suspect_after_ms:
        return Sign.MISSED
    return Sign.DRAIN if pulse.heartbeat.state is PackagerState.DRAINING else Sign.BEAT
