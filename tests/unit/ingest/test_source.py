"""What becomes of sound that is not there all the time, or not always the same."""

from fractions import Fraction
from pathlib import Path

import numpy as np
from av.audio.frame import AudioFrame

from streams.ingest.ladder import AUDIO_RATE_HZ
from streams.ingest.source import SOUND_LATE_MAX_S, Source
from tests.unit.ingest.fakes import RATE, make_clip


def hear(source: Path) -> tuple[list[str], Fraction]:
    """What each half second sounds like, and how far sound ever was behind the picture, in seconds."""
    waves: list[np.ndarray] = []
    pictures, late = 0, Fraction(0)
    with Source(str(source), in_order=True) as opened:
        for number, frame in opened.frames():
            if isinstance(frame, AudioFrame):
                assert number == sum(wave.shape[0] for wave in waves)
                waves.append(frame.to_ndarray()[0])
            else:
                pictures = number + 1
            late = max(late, pictures / RATE - Fraction(sum(wave.shape[0] for wave in waves), AUDIO_RATE_HZ))
    whole = np.concatenate(waves)
    halves = [whole[start : start + AUDIO_RATE_HZ // 2] for start in range(0, len(whole) - AUDIO_RATE_HZ // 4, AUDIO_RATE_HZ // 2)]
    return ["tone" if np.abs(half[4_000:-4_000]).mean() > 0.05 else "silence" for half in halves], late


def test_sound_that_pauses_is_silent_in_step_with_the_picture_and_comes_back_in_its_place(tmp_path: Path) -> None:
    heard, late = hear(make_clip(tmp_path / "clip.mp4", seconds=8, heard=[(0, 1), (6, 8)]))
    assert heard == ["tone"] * 2 + ["silence"] * 10 + ["tone"] * 4
    assert late <= SOUND_LATE_MAX_S + Fraction(1, 10)


def test_sound_that_begins_late_and_ends_early_is_as_long_as_the_picture(tmp_path: Path) -> None:
    heard, late = hear(make_clip(tmp_path / "clip.mp4", seconds=9, heard=[(4, 5)]))
    assert heard == ["silence"] * 8 + ["tone"] * 2 + ["silence"] * 8
    assert late <= SOUND_LATE_MAX_S + Fraction(1, 10)


def test_sound_that_turns_to_another_layout_and_rate_and_back_goes_on(tmp_path: Path) -> None:
    mono = make_clip(tmp_path / "mono.ts", seconds=2)
    stereo = make_clip(tmp_path / "stereo.ts", seconds=2, at_s=2, layout="stereo", sound_hz=48_000)
    again = make_clip(tmp_path / "again.ts", seconds=2, at_s=4)
    (tmp_path / "all.ts").write_bytes(mono.read_bytes() + stereo.read_bytes() + again.read_bytes())
    heard, _ = hear(tmp_path / "all.ts")
    assert heard == ["tone"] * 12
