"""Work on a Ray cluster: every job gives one result, whatever becomes of the processes."""

from collections.abc import Sequence

import pytest
from deadly import Deadly, attempts, carry_out, lost

from joyhallo.work import DEATHS, DIED, LOCAL, each_on_ray


class Counted(Sequence):
    """Jobs, and how many of them were taken."""

    def __init__(self, jobs):
        self.jobs, self.taken = jobs, 0

    def __len__(self):
        return len(self.jobs)

    def __getitem__(self, place):
        job = self.jobs[place]
        self.taken += 1
        return job


def test_on_ray_a_job_that_kills_its_process_is_tried_again_and_stops_no_other(tmp_path):
    pytest.importorskip("ray", reason="ray is an optional extra")
    jobs = Counted([
        Deadly("first", tmp_path),
        Deadly("shaky", tmp_path, deaths=1),
        Deadly("deadly", tmp_path, deaths=99),
        Deadly("bad", tmp_path, error="no good"),
        Deadly("last", tmp_path),
    ])  # fmt: skip
    found, ahead = [], []
    for result in each_on_ray(carry_out, jobs, LOCAL, lost, workers=1):
        found.append(result)
        ahead.append(jobs.taken - len(found))
    assert [name for name, _ in found] == [job.name for job in jobs.jobs], "one worker takes them in their order"
    told = dict(found)
    assert (told["deadly"], attempts(jobs.jobs[2])) == (DIED, DEATHS)
    assert (told["bad"], attempts(jobs.jobs[3])) == ("ValueError: no good", 1)
    assert attempts(jobs.jobs[1]) == 2
    assert isinstance(told["last"], int)
    assert max(ahead) <= 1, "no job is handed out before there is a worker for it"
