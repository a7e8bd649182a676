"""The end of a run names what failed, so that a log of which only the end is kept tells it."""

from pathlib import Path

from tests.summary import counts, failures, untold

LEG = """<testsuites><testsuite tests="4">
<testcase classname="tests.broker.test_a" name="test_one" />
<testcase classname="tests.broker.test_a" name="test_two[x]"><failure message="AssertionError: assert 1 == 2
 +  where 1 = f()">trace</failure></testcase>
<testcase classname="tests.broker.test_b" name="test_three"><error message="failed on setup">trace</error></testcase>
<testcase classname="tests.broker.test_b" name="test_four"><skipped message="no"/></testcase>
</testsuite></testsuites>"""


def test_what_failed_is_named_with_its_reason_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "broker.xml").write_text(LEG)
    assert list(failures(tmp_path)) == [
        ("broker", "tests.broker.test_a::test_two[x]", "AssertionError: assert 1 == 2 + where 1 = f()"),
        ("broker", "tests.broker.test_b::test_three", "failed on setup"),
    ]
    assert counts(tmp_path) == {"passed": 1, "failed": 2, "skipped": 1}


def test_a_leg_that_failed_without_a_test_that_did_is_told(tmp_path: Path) -> None:
    (tmp_path / "broker.xml").write_text(LEG)
    (tmp_path / "unit.xml").write_text(LEG[: LEG.index("<failure")] + "</testcase></testsuite></testsuites>")
    assert untold(tmp_path, ["lint", "broker", "unit", "sim"]) == ["lint", "sim", "unit"]
    assert untold(tmp_path, []) == []
