"""run.sh as the container's runner, against a docker that only writes down how it was called."""

from __future__ import annotations

from itertools import pairwise

from collector.config import KNOWN_NAMES
from tests.container.conftest import Runner


def _has(call: list[str], *pair: str) -> bool:
    return pair in pairwise(call) if len(pair) == 2 else pair[0] in call


def test_starts_with_limits_and_passes_the_options_on(runner: Runner) -> None:
    outcome = runner("--step", "0.00002", "--steps", "40", "--interval", "1")
    assert outcome.code == 0, outcome.err
    call = outcome.started()
    assert call[-7:] == ["run", "--step", "0.00002", "--steps", "40", "--interval", "1"]
    assert {"--restart=unless-stopped", "--read-only"} <= set(call)
    for pair in (("--memory", "1g"), ("--cpus", "1"), ("--name", "collector"), ("--cap-drop", "ALL")):
        assert _has(call, *pair), pair
    assert _has(call, "--mount", "type=volume,source=collector-data,target=/data")
    assert _has(call, "--env", "COLLECTOR_DATA_DIR=/data")
    assert "epoch: 1768054365" in outcome.out
    assert "./run.sh logs" in outcome.out


def test_no_options_start_the_defaults(runner: Runner) -> None:
    assert runner().started()[-1] == "run"


def test_builds_only_what_has_changed(runner: Runner) -> None:
    (build,) = runner("--steps", "40").docker("build")
    assert _has(build, "--target", "collector")
    runner.answers["image"] = True
    unchanged = runner("--steps", "40")
    assert not unchanged.docker("build")
    assert unchanged.docker("image", "inspect")[0][2] in build
    (runner.folder / "collector/code.py").write_text("2\n")
    changed = runner("--steps", "40")
    assert changed.docker("image", "inspect")[0][2] not in build


def test_an_image_that_is_named_is_taken_as_it_is(runner: Runner) -> None:
    runner.env["DEPTH_COLLECTOR_IMAGE"] = "somewhere/collector:7"
    outcome = runner()
    assert not outcome.docker("build")
    assert outcome.started()[-2:] == ["somewhere/collector:7", "run"]


def test_replaces_the_container_of_that_name_after_it_has_drained(runner: Runner) -> None:
    runner.answers["container"] = True
    outcome = runner("--steps", "40")
    order = [call[0] for call in outcome.calls if call[0] in {"stop", "rm"} or "--check" in call or "--detach" in call]
    assert order == ["run", "stop", "rm", "run"]
    assert outcome.docker("stop") == [["stop", "--time", "40", "collector"]]


def test_wrong_options_leave_the_old_container_alone(runner: Runner) -> None:
    runner.answers |= {"container": True, "check": 2}
    outcome = runner("--stepz", "4")
    assert outcome.code == 2
    assert "--stepz" in outcome.err
    assert "nothing was started or stopped" in outcome.err
    assert not outcome.docker("stop")
    assert not outcome.docker("rm")


def test_data_that_the_user_of_the_container_cannot_write_leaves_the_old_one_alone(runner: Runner) -> None:
    runner.answers |= {"container": True, "unwritable": True}
    runner.env["DEPTH_COLLECTOR_DATA"] = "./mine"
    outcome = runner()
    assert outcome.code == 2
    assert "chown 10001:10001" in outcome.err
    assert not outcome.docker("stop")


def test_data_dir_is_refused(runner: Runner) -> None:
    outcome = runner("--data-dir", "elsewhere")
    assert outcome.code == 2
    assert "DEPTH_COLLECTOR_DATA" in outcome.err


def test_the_environment_is_passed_on_by_name(runner: Runner) -> None:
    runner.env |= {"SYMBOL": "ETH/USDT", "AWS_SECRET_ACCESS_KEY": "hidden", "COLLECTOR_STEPS": "7", "EDITOR": "vi"}
    runner.env |= {"COLLECTOR_DATA_DIR": "mine", "AWS_CA_BUNDLE": "/here/ca.pem"}
    outcome = runner()
    call = outcome.started()
    for name in ("SYMBOL", "AWS_SECRET_ACCESS_KEY", "COLLECTOR_STEPS"):
        assert _has(call, "--env", name)
    assert not {"EDITOR", "COLLECTOR_DATA_DIR", "AWS_CA_BUNDLE", "HOME"} & set(call)
    assert "hidden" not in " ".join(call)
    assert "AWS_CA_BUNDLE is not passed on" in outcome.err


def test_every_name_without_prefix_is_passed_on(runner: Runner) -> None:
    runner.env |= dict.fromkeys(KNOWN_NAMES.values(), "x")
    call = runner().started()
    for name in KNOWN_NAMES.values():
        assert _has(call, "--env", name), name


def test_the_env_file_is_read_as_the_collector_reads_it(runner: Runner) -> None:
    (runner.folder / ".env").write_text('# markets\nSYMBOL="BTC/USDT"  # the default\nCOLLECTOR_DATA_DIR=data\n')
    outcome = runner()
    assert ["env-file", "SYMBOL=BTC/USDT", "COLLECTOR_DATA_DIR=data", ""] in outcome.calls
    call = outcome.started()
    assert call.index("--env-file") < call.index("COLLECTOR_DATA_DIR=/data")


def test_files_that_settings_name_are_mounted_read_only(runner: Runner) -> None:
    key, config = runner.folder / "key.json", runner.folder / "mine.yaml"
    key.write_text("{}")
    config.write_text("steps: 7\n")
    runner.env["GOOGLE_APPLICATION_CREDENTIALS"] = str(key)
    call = runner("--config", "mine.yaml", "--steps", "9").started()
    assert _has(call, "--mount", f"type=bind,source={key},target=/run/collector/google.json,readonly")
    assert _has(call, "--env", "GOOGLE_APPLICATION_CREDENTIALS=/run/collector/google.json")
    assert _has(call, "--mount", f"type=bind,source={config},target=/run/collector/config.yaml,readonly")
    assert _has(call, "--env", "COLLECTOR_CONFIG=/run/collector/config.yaml")
    assert call[-3:] == ["run", "--steps", "9"]


def test_a_key_that_the_container_cannot_read_is_said_before_anything_stops(runner: Runner) -> None:
    key = runner.folder / "key.json"
    key.write_text("{}")
    runner.env["GOOGLE_APPLICATION_CREDENTIALS"] = str(key)
    runner.answers |= {"container": True, "unreadable": ["/run/collector/google.json"]}
    outcome = runner()
    assert outcome.code == 2
    assert "GOOGLE_APPLICATION_CREDENTIALS" in outcome.err
    assert "setfacl" in outcome.err
    assert not outcome.docker("stop")


def test_a_container_that_does_not_stay_up_is_bad_news(runner: Runner) -> None:
    runner.answers |= {"logs": "collector: --exchange nowhere\n", "restarts": 2}
    outcome = runner()
    assert outcome.code == 1
    assert "does not stay up" in outcome.err
    assert "--exchange nowhere" in outcome.out


def test_the_health_check_is_told_of_a_dry_run(runner: Runner) -> None:
    assert _has(runner("--dry-run").started(), "--env", "COLLECTOR_DRY_RUN=true")
    assert "COLLECTOR_DRY_RUN" not in " ".join(runner().started())
    runner.env["COLLECTOR_DRY_RUN"] = "1"
    assert _has(runner().started(), "--env", "COLLECTOR_DRY_RUN")


def test_without_docker_it_says_what_to_do(runner: Runner) -> None:
    runner.without_docker()
    outcome = runner("--steps", "40")
    assert outcome.code == 2
    assert "apt-get install docker.io" in outcome.err
    assert "./run.sh local run --steps 40" in outcome.err


def test_an_engine_that_does_not_answer(runner: Runner) -> None:
    runner.answers["engine"] = False
    outcome = runner()
    assert outcome.code == 2
    assert "systemctl start docker" in outcome.err


def test_stop_drains_and_gives_the_exit_code_on(runner: Runner) -> None:
    runner.answers |= {"container": True, "exit_code": 3}
    outcome = runner("stop")
    assert outcome.docker("stop") == [["stop", "--time", "40", "collector"]]
    assert outcome.code == 3


def test_status_and_logs(runner: Runner) -> None:
    missing = runner("status")
    assert missing.code == 2
    assert "no container 'collector'" in missing.err
    runner.answers |= {"container": True, "running": True}
    assert runner("status").code == 0
    assert runner("logs").docker("logs") == [["logs", "--follow", "--tail", "50", "collector"]]
    runner.answers["running"] = False
    assert runner("status").code == 1


def test_exec_is_any_command_of_the_collector(runner: Runner) -> None:
    runner.answers["container"] = True
    assert runner("exec", "gaps", "--json").docker("exec") == [
        ["exec", "collector", "python3", "-m", "collector", "gaps", "--json"]
    ]


def test_an_unknown_word_starts_nothing(runner: Runner) -> None:
    outcome = runner("strat")
    assert outcome.code == 2
    assert not outcome.calls
