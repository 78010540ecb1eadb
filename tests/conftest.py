import gc
import os

import pytest

# Small networks gain nothing from more threads, and lose much to them on a busy machine. Said before torch is imported,
# it also holds for what larger fixtures compute and for the processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"

import torch


def pytest_addoption(parser):
    parser.addoption("--full-size", action="store_true", help="also recorded answers of full-size networks: minutes")


def pytest_collection_finish():
    """What has been imported stays. Looked through for cycles again and again it took a fifth of some tests' time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def as_many_threads_afterwards():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def drawn_alike():
    """What a test draws does not depend on which tests ran before it, so what fails once fails again."""
    torch.manual_seed(0)
