"""What is logged of errors that librdkafka repeats until it has cured them."""

from confluent_kafka import KafkaError
from structlog.testing import capture_logs

from packager.complaints import Complaints


def test_an_outage_is_logged_once_a_minute_for_each_kind_of_error() -> None:
    now_s = 0.0
    complaints = Complaints(lambda: now_s)
    with capture_logs() as lines:
        for second in range(90):
            now_s = float(second)
            complaints.take(KafkaError(KafkaError._TRANSPORT, "refused"))
            complaints.take(KafkaError(KafkaError._ALL_BROKERS_DOWN, "none is left"))
    assert [line["code"] for line in lines] == ["_TRANSPORT", "_ALL_BROKERS_DOWN"] * 2
