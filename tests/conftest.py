import os
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from ddgan.explorer.session import Session

# tests of one package use what those of another make
sys.path[:0] = [str(folder) for folder in sorted(Path(__file__).parent.iterdir()) if folder.is_dir()]

torch.set_num_threads(1)
# where CI is set, pytest looks for all differences of two sequences: of the bytes of two pictures for hours
if os.environ.pop("CI", None):
    os.environ["DDGAN_CI"] = "1"
# no deadline: it would be a timing assertion; derandomised: the same examples in every run
settings.register_profile("ddgan", deadline=None, derandomize=True)
settings.load_profile("ddgan")


@pytest.fixture(scope="module")
def session():
    return Session()


@pytest.fixture
def fixed_initialisation():
    """For pytestmark: networks begin with the same weights in every test of a file."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "slow: takes seconds, or drives more of the page than its first picture; left out by -m 'not slow'"
    )
    config.addinivalue_line("markers", "soak: takes many minutes; run only by -m soak")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With -n 2 one process has all tests of the browser, which share a page and take long; the others go by file."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return "browser" if "browser/" in nodeid else nodeid.partition("::")[0]

    config.option.loadscopereorder = False  # the browser begins first
    return ByFile(config, log)


def pytest_collection_modifyitems(config, items):
    if "soak" not in config.option.markexpr:
        soaks = [item for item in items if item.get_closest_marker("soak")]
        items[:] = [item for item in items if item not in soaks]
        config.hook.pytest_deselected(items=soaks)
