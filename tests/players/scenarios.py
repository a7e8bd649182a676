"""What is done to a line while players play it: each scenario with its settings; the same acts in `make test` and in `make players`."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import cycle
from typing import Any

from infra.processes import Child
from schemas.records import Assignment, Level
from schemas.timeline import frames_per_gop
from schemas.topics import ASSIGNMENTS
from schemas.units import Epoch, Msn
from tests.line import BY_HAND, OTHER_PRESET, PRESET, Line
from tests.players.stage import Stage

TARGET_S = 4.0
# What a first viewer, or one of low latency before the end, plays.
SOON_S = 3 * TARGET_S
# How long something is made before the next change, and how much of what comes after it is looked at.
EACH_S = 8.0
# Segments of this many GOPs let the next holder be named while the segment before its first is open.
SWAP_GOPS = 2
CONTROL = "control"
CHOOSE_S = 5.0
EVERY_S = 10.0
# So often that a switch meets the beginning of a period soon.
CHOOSE_OFTEN_S = 2.7
OFTEN_S = 6.0

PLAIN = {
    "hls.js": "player=hls&mode=plain",
    "dash.js": "player=dash&mode=plain",
    "shaka": "player=shaka&mode=plain",
}
PLAYERS = PLAIN | {
    "hls.js-ll": "player=hls&mode=ll",
    "dash.js-ll": "player=dash&mode=ll",
    "shaka-ll": "player=shaka&mode=ll",
    "shaka-ll-dash": "player=shaka&mode=ll-dash",
    "shaka-dash": "player=shaka&mode=dash",
}
Act = Callable[[Line, Stage, str, float], str]
"""What is done while pages play a channel, for about so many seconds if its length is a matter of choice; it tells what was done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """
    Something that happens while players play.

    Attributes:
        about: In a few words.
        act: Makes it happen, and returns when all players have seen it.
        seconds: How long, if that is a matter of choice.
        idle: What is packaged while nobody watches.
        choose_s: Players are made to switch renditions so often; 0: never.
        has_own_channels: Whether each page has a channel of its own, of which it is the first viewer.
        logs: What players tell of their own doing is kept where something went wrong.
        settings: Of the line.
    """

    about: str
    act: Act
    seconds: float = 0.0
    idle: Level = Level.PARTS
    choose_s: float = 0.0
    has_own_channels: bool = False
    logs: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


def pages(*names: str, channel: str) -> dict[str, str]:
    """Queries of the watch page for some players of a channel, by player."""
    return {name: f"channel={channel}&{PLAYERS[name]}" for name in names}


def is_low_latency(page: str) -> bool:
    """Whether a page plays parts or open segments."""
    return "-ll" in page


# ---------------------------------------------------------------- acts


def change_lengths(line: Line, stage: Stage, channel: str, _: float) -> str:
    """Segments of 4, 1, 2 and 4 s."""
    for gops in (1, 2, 4):
        until_length(line, stage, channel, gops)
        stage.play_on(EACH_S)
    stage.until_seen()
    return f"segments of {line.tally.segment_lengths_s(channel)} s"


def kill_in_mid_segment(line: Line, stage: Stage, channel: str, _: float) -> str:
    """The packager that makes a channel dies within a segment; where somebody plays parts, another makes the same."""
    copies = 2 if any(map(is_low_latency, stage.names)) else 1
    stage.until(lambda _: len(holders(line, channel)) >= copies, what=f"{copies} holders of {channel}")
    stage.play_on(TARGET_S)
    until_mid_segment(line, stage, channel)
    killed = first_holder(line, stage, channel)
    line.run.supervisor.kill(killed)
    stage.until_seen(more_s=EACH_S)
    assert killed not in holders(line, channel), f"{killed} still holds {channel}"
    line.run.supervisor.revive(line.run.supervisor.children[killed])
    return f"{killed} killed, one of {copies}"


def swap_holders(line: Line, stage: Stage, channel: str, seconds: float) -> str:
    """Two packagers take a channel from each other with every segment, as no planner would: without one, by hand."""
    supervisor = line.run.supervisor
    until_length(line, stage, channel, SWAP_GOPS)
    if supervisor.children[CONTROL].is_alive:
        supervisor.stop([CONTROL])
    (key,) = (key for key, held in line.tally.holders.items() if held.channel == channel)
    held, swaps, over = line.tally.holders[key], 0, time.monotonic() + seconds
    while time.monotonic() < over:
        until_mid_segment(line, stage, channel)
        swaps += 1
        held = other_holder(line, held, decision=BY_HAND + swaps, channel=channel)
        line.tell(ASSIGNMENTS, key, held)
    stage.until_seen()
    makers = {life for name, life, _, at in line.tally.part_times if name == channel}
    assert len(makers) > 1, f"only {makers} made parts of {channel}"
    supervisor.wait_ready([supervisor.revive(supervisor.children[CONTROL])])
    return f"{swaps} swaps of {len(makers)} packagers"


def only_play(_: Line, stage: Stage, __: str, seconds: float) -> str:
    """Nothing is done but what the scenario says of the pages."""
    stage.play_on(seconds)
    return ""


def renew_encoder(line: Line, stage: Stage, channel: str, _: float) -> str:
    """Another encoder takes over without a gap: with the same parameter sets, then with others; both changes leave the window."""
    for preset in (PRESET, OTHER_PRESET):
        succeed_encoder(line, stage, channel, preset=preset)
        stage.play_on(EACH_S)
    stage.play_on(line.run.settings.media.time_shift_ms / 1_000)
    stage.until_seen()
    return "two encoders more"


def renew_often(line: Line, stage: Stage, channel: str, seconds: float) -> str:
    """Another encoder every few seconds, with other lengths of segments, while renditions are switched."""
    over, lengths, presets, done = time.monotonic() + seconds, cycle((1, 2, 4)), cycle((OTHER_PRESET, PRESET)), 0
    while time.monotonic() < over:
        line.pin(channel, next(lengths))
        succeed_encoder(line, stage, channel, preset=next(presets))
        stage.play_on(OFTEN_S)
        done += 1
    stage.until_seen()
    return f"{done} encoders more"


def crash_encoder(line: Line, stage: Stage, channel: str, _: float) -> str:
    """The encoder dies and is started again: there is a hole."""
    restart_encoder(line, stage, channel)
    stage.until_seen(more_s=EACH_S)
    return "one encoder killed"


def end_channel(line: Line, stage: Stage, channel: str, _: float) -> str:
    """The encoder is told to end: all that there was is played, and players know that this was all."""
    stage.play_on(SOON_S)
    line.run.supervisor.stop([encoder_of(line, channel).name])
    stage.until(lambda tally: channel in tally.ended, what="the end of the channel")
    stage.until_over()
    return "the channel ended"


def do_everything(line: Line, stage: Stage, channel: str, seconds: float) -> str:
    """Lengths, deaths and departures of packagers and new encoders in turn, while renditions are switched."""
    supervisor, over, lengths, presets = line.run.supervisor, time.monotonic() + seconds, cycle((1, 2, 4)), cycle((OTHER_PRESET, PRESET))

    def die() -> None:
        until_mid_segment(line, stage, channel)
        supervisor.kill(first_holder(line, stage, channel))

    def leave() -> None:
        line.run.drain_packager(first_holder(line, stage, channel))

    def come_back() -> None:
        for name in line.run.packagers:
            if not supervisor.children[name].is_wanted:
                until_ended(stage, supervisor.children[name])
                supervisor.revive(supervisor.children[name])

    def cut() -> None:
        line.pin(channel, next(lengths))

    def renew() -> None:
        succeed_encoder(line, stage, channel, preset=next(presets))

    done: list[str] = []
    for deed in cycle((cut, die, come_back, cut, renew, leave, come_back)):
        if time.monotonic() >= over:
            break
        deed()
        done.append(f"{deed.__name__} {time.time():.1f}")
        stage.play_on(EVERY_S)
    stage.until_seen()
    return f"{len(done)} deeds, done at: {', '.join(done)}"


# ---------------------------------------------------------------- what acts do


def holders(line: Line, channel: str) -> list[str]:
    """Packagers that make a channel's newest segments, that of the first copy first."""
    held = sorted((key, a.packager_id) for key, a in line.tally.holders.items() if a.channel == channel and a.until_msn is None)
    return [packager for _, packager in held]


def first_holder(line: Line, stage: Stage, channel: str) -> str:
    """The packager that makes the first copy, once there is one."""
    stage.until(lambda _: bool(holders(line, channel)), what=f"holder of {channel}")
    return holders(line, channel)[0]


def until_length(line: Line, stage: Stage, channel: str, gops: int) -> None:
    """Return when segments of so many GOPs of a second are made."""
    line.pin(channel, gops)
    stage.until(lambda tally: tally.segment_lengths_s(channel)[-1] == gops, what=f"segments of {gops} s")


def until_ended(stage: Stage, child: Child) -> None:
    """Return when a process has ended."""
    stage.until(lambda _: not child.is_alive, what=f"end of {child.name}")


def until_mid_segment(line: Line, stage: Stage, channel: str) -> None:
    """Return when the first GOP of a segment of several is in the log."""
    begun = line.gops[channel].msn

    def is_open(_: object) -> bool:
        newest = line.gops[channel]
        return newest.msn > begun and (newest.gop == newest.first_gop or newest.gop_count == 1)

    stage.until(is_open, what="the middle of a segment")


def other_holder(line: Line, held: Assignment, *, decision: int, channel: str) -> Assignment:
    """The slice given to a packager that does not hold it, from the segment after the open one."""
    newest = line.gops[channel]
    beat = next(beat for packager, beat in sorted(line.tally.heartbeats.items()) if packager != held.packager_id)
    return replace(
        held, packager_id=beat.packager_id, life=beat.life, epoch=Epoch(held.epoch + 1), from_msn=Msn(newest.msn + 1),
        first_offset=newest.last_offset, decision=decision,
    )  # fmt: skip


def encoder_of(line: Line, channel: str) -> Child:
    """The process that plays into a channel."""
    playing = [c for c in line.run.supervisor.children.values() if c.role == "encode" and f"play-{channel}-" in c.name and c.is_alive]
    return playing[-1]


def succeed_encoder(line: Line, stage: Stage, channel: str, *, preset: str) -> None:
    """Another encoder takes a channel over from the one that plays into it, which then ends by itself."""
    before, period = encoder_of(line, channel), line.tally.newest[channel].period
    before.is_wanted = False
    line.play(channel, idle=Level.PARTS, preset=preset)
    stage.until(lambda tally: tally.newest[channel].period > period, what="the next period")
    until_ended(stage, before)


def restart_encoder(line: Line, stage: Stage, channel: str) -> None:
    """The encoder of a channel is killed and started again."""
    supervisor, encoder, period = line.run.supervisor, encoder_of(line, channel), line.tally.newest[channel].period
    supervisor.kill(encoder.name)
    supervisor.revive(encoder)
    stage.until(lambda tally: tally.newest[channel].period > period, what="the next period")


def starts_s(line: Line, channel: str) -> list[float]:
    """Where each period of a channel begins on its timeline."""
    return [round((p.anchor_unix_ms - p.zero_unix_ms) / 1_000, 2) for (name, _), p in sorted(line.tally.periods.items()) if name == channel]


def holes_s(line: Line, channel: str) -> list[float]:
    """Seconds without content between each two periods of a channel."""
    found = []
    for (name, number), period in sorted(line.tally.periods.items()):
        end, before = line.tally.ends.get((name, number - 1)), line.tally.periods.get((name, number - 1))
        if name == channel and end and before:
            gops, parts = divmod(end.parts_reached, len(before.grid))
            frames = gops * frames_per_gop(before) + sum(sum(part.chunk_frames) for part in before.grid[:parts])
            ended_ms = before.anchor_unix_ms + frames * before.frame_rate_den * 1_000 / before.frame_rate_num
            found.append(round((period.anchor_unix_ms - ended_ms) / 1_000, 2))
    return found


QUICK: dict[str, Any] = {"GRANULARITY__HOLD_MS": 2_000}
BRIEF: dict[str, Any] = {"MEDIA__TIME_SHIFT_MS": 32_000}
TWICE: dict[str, Any] = {"GRANULARITY__COPIES_VIEWERS": 1, "GRANULARITY__DEAL_HOLD_MS": 2_000}
SCENARIOS = {
    "lengths": Scenario(about="segments of 4, 1, 2, 4 s", act=change_lengths),
    "kill": Scenario(about="a packager dies within a segment; parts have two copies", act=kill_in_mid_segment, settings=TWICE),
    "swap": Scenario(
        about="two packagers swap with every segment of 2 s", act=swap_holders, seconds=120, settings={"GRANULARITY__COPIES_MAX": 1}
    ),
    "off": Scenario(about="the first viewer of a channel that is off", act=only_play, seconds=20, idle=Level.OFF, has_own_channels=True),
    "switches": Scenario(about="another rendition every 5 s", act=only_play, seconds=60, choose_s=CHOOSE_S),
    "encoder": Scenario(about="a new encoder, same and other parameter sets", act=renew_encoder, settings=BRIEF),
    "crash": Scenario(about="the encoder dies and comes back: a hole", act=crash_encoder),
    "end": Scenario(about="the channel ends", act=end_channel),
    "renewals": Scenario(
        about="a new encoder every 10 s, another rendition every 2.7 s",
        act=renew_often,
        seconds=120,
        choose_s=CHOOSE_OFTEN_S,
        settings=BRIEF,
    ),
    "everything": Scenario(about="all of it in turn", act=do_everything, seconds=600, choose_s=CHOOSE_S, settings=QUICK | TWICE),
}
