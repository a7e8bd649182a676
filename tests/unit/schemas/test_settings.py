"""Settings: relations are checked, problems name the variable and what to do."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from schemas.errors import UserError
from schemas.settings import KafkaSettings, load


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("FINECUT_LIVENESS__DEAD_AFTER_MS", "1000", "dead_after_ms must outlast suspicion"),
        ("FINECUT_MEDIA__TARGET_DURATION_MS", "4500", "whole seconds"),
        ("FINECUT_MEDIA__TIME_SHIFT_MS", "8000", "6 x target_duration_ms"),
        ("FINECUT_KAFKA__POOL_COUNT", "0", "FINECUT_KAFKA__POOL_COUNT"),
        ("FINECUT_KAFKA__BOOTSTRAP", "x", "FINECUT_KAFKA__BOOTSTRAP: there is no such setting"),
        ("FINECUT_ASSIGNMENT__STRATEGY", "best", "least_loaded"),
        ("FINECUT_ORIGIN__BLOCKED_MS_MAX", "5000", "media rule 16"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_expected(monkeypatch: pytest.MonkeyPatch, name: str, value: str, problem: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=problem) as raised:
        load()
    assert "what to do" in str(raised.value)


def test_the_environment_overrules_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "finecut.toml").write_text("[kafka]\npool_count = 3\nmedia_partition_count = 5\n")
    monkeypatch.setenv("FINECUT_KAFKA__POOL_COUNT", "4")
    kafka = load().kafka
    assert (kafka.pool_count, kafka.media_partition_count) == (4, 5)


def test_a_secret_is_not_repeated_when_settings_are_refused() -> None:
    with pytest.raises(ValidationError) as raised:
        KafkaSettings.model_validate({"security_protocol": "SASL_SSL", "sasl_password": "swordfish"})
    assert "sasl_username" in str(raised.value)
    assert "swordfish" not in str(raised.value)
