import torch
from hypothesis import settings

torch.set_num_threads(1)
# no deadline: it would be a timing assertion; derandomised: the same examples in every run
settings.register_profile("ddgan", deadline=None, derandomize=True)
settings.load_profile("ddgan")


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes over five seconds or drives a further tab; left out by -m 'not slow'")
