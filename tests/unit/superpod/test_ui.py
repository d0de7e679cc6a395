"""The log file of each run, beside those of other runs."""

from pathlib import Path

from superpod import ui


def test_only_the_newest_logs_are_kept(tmp_path: Path) -> None:
    logs = [tmp_path / f"202511{day:02}-120000-verify-{pid}.log" for day in range(1, 31) for pid in (1, 22)]
    for log in reversed(logs):
        log.touch()
    new = ui.open_log("verify", tmp_path)
    assert sorted(tmp_path.iterdir()) == [*logs[-ui.KEPT :], new]


def test_a_log_that_another_run_has_just_removed_ends_nothing(tmp_path: Path) -> None:
    gone = [tmp_path / f"20251101-1200{second:02}-verify-1.log" for second in range(ui.KEPT + 1)]
    for log in gone:
        log.symlink_to(tmp_path / "removed")
    assert ui.open_log("verify", tmp_path).exists()
    assert not gone[0].is_symlink()
