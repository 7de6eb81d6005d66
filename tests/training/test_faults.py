"""Trainings survive: kills, signals, full and read-only disks,
damaged files, rivals, and numbers that are not finite.
"""

import importlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import count
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from ddgan.cli import main
from ddgan.evidence.bench import faults
from ddgan.models.checkpoint import load
from ddgan.training.player import Player
from ddgan.training.trainer import Adversarial

WORDS = faults.RUNS["points"].split()  # 60 updates, saved after each
ROOT = Path(__file__).parents[2]
NEWEST, BEFORE = "state.safetensors", "state-before.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An unbroken run."""
    out = tmp_path_factory.mktemp("unbroken") / "run"
    assert main([*WORDS, "--out", str(out)]) == 0
    return out


@pytest.fixture
def out(whole, tmp_path):
    """The same run, for a test to damage."""
    return shutil.copytree(whole, tmp_path / "run")


def train(capsys, out, *options):
    """Exit code and standard error of the command."""
    capsys.readouterr()
    return main([*WORDS, "--out", str(out), *options]), capsys.readouterr().err


def lived(out, prepare=None, *options):
    """The same of a process of its own."""
    said = out.with_name("said")
    life = faults.begin(main, [*WORDS, "--out", str(out), *options], prepare, str(said))
    life.join()
    return life.exitcode, said.read_text()


def updates(out):
    """How many updates the newest state has seen."""
    path = out / NEWEST if (out / NEWEST).exists() else out / BEFORE
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["run"])["step"]


def files(out):
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.mark.slow
def test_a_training_that_was_killed_ends_with_the_bytes_of_one_that_was_not(capsys):
    """Points and images, at random and in the middle of saving."""
    assert main("bench faults --quick --json".split()) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["kills"] == report["bit_exact"] == 2 * (1 + len(faults.KILL_POINTS))


@pytest.mark.soak
def test_200_random_kills_all_resume_bit_for_bit():
    report = faults.kills(main, 100, print)
    assert report["kills"] == report["bit_exact"] == 2 * (100 + len(faults.KILL_POINTS))


@pytest.mark.slow
@pytest.mark.parametrize(
    "point, step", {"mid-write": 1, "before the renames": 1, "between the renames": 1, "after the renames": 2}.items()
)
def test_a_kill_in_the_third_save_costs_at_most_that_save(tmp_path, point, step):
    """The saves are of 0, 1, 2, ... updates."""
    code, _ = lived(tmp_path / "run", partial(faults.die_at, *faults.KILL_POINTS[point]))
    assert code == -signal.SIGKILL and updates(tmp_path / "run") == step
    assert (tmp_path / "run" / NEWEST).exists() == (point != "between the renames")


def at_update(monkeypatch, number, do):
    """Call `do` in the middle of an update: D has learned, G has not."""
    descend, steps = Player.descend, count(1)  # D's and G's in turn

    def interrupted(self, *rest):
        value = descend(self, *rest)
        if next(steps) == 2 * number - 1:
            do()
        return value

    monkeypatch.setattr(Player, "descend", interrupted)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_within_an_update_saves_after_it_and_the_run_goes_on_bit_for_bit(
    capsys, monkeypatch, tmp_path, whole, number
):
    at_update(monkeypatch, 20, partial(signal.raise_signal, number))
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    code, err = train(capsys, tmp_path / "run", "--save-every", "999")
    assert code == 130 and err.endswith("ddgan: stopped after update 20, which is saved: --resume goes on\n")
    assert updates(tmp_path / "run") == 20 and load(tmp_path / "run").card["steps"] == 20
    assert handlers == (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT))
    monkeypatch.undo()
    assert train(capsys, tmp_path / "run", "--resume")[0] == 0 and faults.same(tmp_path / "run", whole)


def test_an_update_that_does_not_end_is_broken_off_and_not_saved(capsys, monkeypatch, tmp_path, whole):
    def hang():
        signal.raise_signal(signal.SIGTERM)
        while True:
            time.sleep(0.01)

    monkeypatch.setattr(importlib.import_module("ddgan.cli.progress"), "GRACE", 0.1)
    at_update(monkeypatch, 20, hang)
    assert train(capsys, tmp_path / "run", "--save-every", "999")[0] == 130 and updates(tmp_path / "run") == 0
    monkeypatch.undo()
    assert train(capsys, tmp_path / "run", "--resume")[0] == 0 and faults.same(tmp_path / "run", whole)


def test_a_signal_does_not_wait_for_judging(capsys, monkeypatch, tmp_path, whole):
    monkeypatch.setattr(
        importlib.import_module("ddgan.training.run"), "evaluate_model", lambda *_: signal.raise_signal(signal.SIGTERM)
    )
    assert train(capsys, tmp_path / "run")[0] == 130
    assert load(tmp_path / "run").card["metrics"] == {} and faults.same(tmp_path / "run", whole)


DYING = """
import os, sys
from ddgan.cli import main
from ddgan.training.player import Player
descend = Player.descend
def die(self, *rest, **more):
    value = descend(self, *rest, **more)
    if die.calls == 40:
        os.kill(os.getpid(), int(sys.argv.pop()))
    die.calls += 1
    return value
die.calls, Player.descend = 0, die
main(sys.argv[1:-1])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGFPE, "Floating point exception|Floating-point exception"),
        pytest.param(signal.SIGSEGV, "Segmentation fault", marks=pytest.mark.slow),
        pytest.param(signal.SIGABRT, "Aborted", marks=pytest.mark.slow),
    ],
)
def test_a_crash_of_native_code_is_told_at_the_next_start_which_goes_on_bit_for_bit(
    capsys, tmp_path, whole, number, words
):
    out = tmp_path / "run"
    command = [sys.executable, "-c", DYING, *WORDS, "--out", str(out), str(int(number))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    died = subprocess.run(command, env=environment, preexec_fn=no_core, capture_output=True, text=True, timeout=120)
    assert died.returncode == -number, died.stderr
    assert updates(out) == 20 and "die" in (out / "crash.log").read_text()
    code, err = train(capsys, out, "--resume")
    assert code == 0 and faults.same(out, whole)
    assert re.search(
        rf"the last run died in native code \(({words})\): {out}/crash-before.log says where; going on after update 20",
        err,
    )
    assert "die" in (out / "crash-before.log").read_text() and not (out / "crash.log").exists()
    capsys.readouterr()
    assert main([*WORDS, "--out", str(out), "--resume"]) == 0 and "died" not in capsys.readouterr().err


def no_core():
    """No core file of a process that dies on purpose."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@pytest.mark.slow
def test_a_run_that_ends_otherwise_leaves_no_log_of_a_crash(tmp_path):
    command = [sys.executable, "-m", "ddgan", *WORDS, "--out", str(tmp_path / "run")]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, capture_output=True, timeout=120)
    assert not [path for path in (tmp_path / "run").iterdir() if "crash" in path.name]


def full(write):
    """From a process' write of this number on, no file may be longer than 10 kB: the state is twice that."""
    fsync, calls = os.fsync, []

    def filling(file):
        fsync(file)
        calls.append(file)
        if len(calls) == write:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))

    os.fsync = filling


def test_a_full_disk_stops_the_run_and_leaves_the_last_state(capsys, tmp_path, whole):
    """Every save ends with two: of the file, and of its directory."""
    code, err = lived(tmp_path / "run", partial(full, 2 * 10))
    assert code == 2 and err.endswith(f"{NEWEST} cannot be written (File too large): it stays as it was\n"), err
    assert (
        "Traceback" not in err
        and updates(tmp_path / "run") == 9
        and set(files(tmp_path / "run")) == {".lock", NEWEST, BEFORE}
    )
    assert train(capsys, tmp_path / "run", "--resume")[0] == 0 and faults.same(tmp_path / "run", whole)


def nobody():
    if not os.getuid():  # root may write anywhere
        os.setuid(65534)


def test_a_read_only_directory_stops_the_run_at_once_and_leaves_everything(whole):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        out = shutil.copytree(whole, Path(folder, "run"))
        before = files(out)
        os.chmod(out, 0o555)
        code, err = lived(out, nobody, "--resume")
        os.chmod(out, 0o755)
        assert code == 2 and "cannot be written (Permission denied)" in err and err.count("\n") == 1
        assert files(out) == before


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # in a weight's last bit: nothing but a checksum sees it
    path.write_bytes(data)


DAMAGE = {
    "flipped": flip,
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "foreign": lambda path: path.write_bytes(b"PK\x03\x04 a zip"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_newest_state_is_said_and_the_run_goes_on_from_the_one_before(capsys, out, whole, damage):
    damage(out / NEWEST)
    code, err = train(capsys, out, "--resume")
    assert code == 0 and f"{NEWEST} is " in err and "going on from the state before it, after update 59" in err
    assert faults.same(out, whole)


def test_a_kill_in_the_first_save_after_a_damaged_state_leaves_the_good_one(capsys, out, whole):
    """Were the damaged one kept as the one before, nothing whole would be left."""
    flip(out / NEWEST)
    assert lived(out, partial(faults.die_at, f"before {NEWEST}", 1), "--resume")[0] == -signal.SIGKILL
    assert train(capsys, out, "--resume")[0] == 0 and faults.same(out, whole)


def test_where_no_state_is_whole_the_run_is_refused(capsys, out):
    flip(out / NEWEST), flip(out / BEFORE)
    before = files(out)
    code, err = train(capsys, out, "--resume")
    assert code == 2 and NEWEST in err and BEFORE in err and err.count("\n") == 1 and files(out) == before


def test_the_second_trainer_in_a_directory_is_refused_until_the_first_is_dead(capsys, tmp_path, whole):
    first = faults.begin(main, [*WORDS, "--out", str(tmp_path / "run")], partial(at_last, 30))
    faults.until_saved(first, tmp_path / "run")
    answers = [train(capsys, tmp_path / "run", *options) for options in ([], ["--resume"])]
    first.kill()
    first.join()
    for code, err in answers:
        assert code == 2 and "another process is training in" in err and err.count("\n") == 1
    assert train(capsys, tmp_path / "run", "--resume")[0] == 0 and faults.same(tmp_path / "run", whole)


def at_last(number):
    """Wait for ever before an update."""
    at_update(pytest.MonkeyPatch(), number, signal.pause)


def test_another_config_is_refused_with_the_difference(capsys, out):
    flip(out / NEWEST)
    before = files(out)
    code, err = train(capsys, out, "--resume", "--lr-g", "0.001", "--batch", "32")
    assert code == 2 and "batch 16 there and 32 now" in err and "lr_g 0.004 there and 0.001 now" in err
    assert files(out) == before
    code, err = train(capsys, out)
    assert code == 2 and "already holds a run: continue it with --resume" in err


def nan_loss(objective):
    raise FloatingPointError(f"the loss of D is nan at update {objective.updates}")


def nan_gradient(objective):
    for parameter in objective.networks["g"].parameters():
        parameter.grad.fill_(torch.nan)
    objective.players["g"].optimiser.step()


def nan_average(objective):
    next(objective.denoiser.parameters()).data[0] = torch.nan


@pytest.fixture(params=[nan_loss, nan_gradient, nan_average])
def poisoned(request, monkeypatch):
    """Has update 30 end in numbers that are not finite: with its own noise only, or always."""

    def poison(always):
        update = Adversarial.update

        def poisoned(self, x_0, noise, *given, **more):
            losses = update(self, x_0, noise, *given, **more)
            if self.updates == 30 and (always or noise.initial_seed() == 29):
                request.param(self)
            return losses

        monkeypatch.setattr(Adversarial, "update", poisoned)

    return poison


def test_what_is_not_finite_is_not_saved_and_fresh_noise_leads_on(capsys, monkeypatch, tmp_path, whole, poisoned):
    poisoned(always=False)
    code, err = train(capsys, tmp_path / "run")
    assert code == 0 and err.count("back to update 29, on with fresh noise (1 of 3 times)") == 1
    assert load(tmp_path / "run").card["rollbacks"] == 1 and not faults.same(tmp_path / "run", whole)
    at_update(monkeypatch, 45, partial(signal.raise_signal, signal.SIGTERM))
    assert train(capsys, tmp_path / "broken")[0] == 130
    code, err = train(capsys, tmp_path / "broken", "--resume")
    assert code == 0 and "fresh noise" not in err and faults.same(tmp_path / "broken", tmp_path / "run")


def test_after_going_back_three_times_the_run_stops_with_a_report_and_the_last_good_model(capsys, tmp_path, poisoned):
    poisoned(always=True)
    for options in ([], ["--resume"]):
        code, err = train(capsys, tmp_path / "run", *options)
        report = err.strip().splitlines()[-1]
        assert code == 2 and "after going back 3 times: stopped" in report and "holds the run after update 29" in report
        assert updates(tmp_path / "run") == 29
        assert load(tmp_path / "run").card["steps"] == 29 and load(tmp_path / "run").card["rollbacks"] == 3
