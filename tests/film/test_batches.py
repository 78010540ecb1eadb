"""Pictures in batches: every picture once and in order, one batch ahead, in memory that serves again."""

import time

import pytest
import torch

from joyhallo.film.batches import PIXELS, batches, most

PICTURES = torch.randint(0, 256, (11, 6, 8, 3), generator=torch.Generator().manual_seed(2)).byte()


def addresses(counts, held):
    """Where the batches lie, of which so many are held at a time."""
    kept, found = [], []
    for batch in batches(PICTURES, counts):
        time.sleep(0.05)  # the next one is read meanwhile
        kept = [*kept, batch][-held:]
        found.append(batch.data_ptr())
    return found


@pytest.mark.parametrize("counts", [[4, 4, 3], [11], [1] * 11, [3, 5, 2]])
def test_every_picture_comes_once_and_in_order(counts):
    made = list(batches(PICTURES, counts))
    assert [len(batch) for batch in made] == counts
    assert torch.equal(torch.cat(made), PICTURES[: sum(counts)])


def test_memory_serves_again_once_it_is_let_go():
    assert len(set(addresses([1] * 11, held=1))) <= 3
    assert len(set(addresses([1] * 11, held=11))) == 11
    assert len(set(addresses([1] * 5 + [2] * 3, held=1))) <= 6  # what is too small serves nobody


def test_a_part_of_a_batch_keeps_its_memory():
    parts = [batch[0] for batch in batches(PICTURES, [2] * 5)]
    assert torch.equal(torch.stack(parts), PICTURES[0:10:2])


def test_pictures_that_end_too_early_are_told():
    with pytest.raises(RuntimeError, match="StopIteration"):
        list(batches(PICTURES, [8, 8]))


def test_who_stops_waits_for_one_picture_not_for_a_batch():
    read = []

    def slowly():
        for picture in PICTURES.repeat(20, 1, 1, 1):
            read.append(1)
            time.sleep(0.01)
            yield picture

    coming = batches(slowly(), [1, 200])
    next(coming)
    while len(read) < 5:  # the next batch is being read
        time.sleep(0.01)
    coming.close()
    assert len(read) < 100


def test_large_pictures_come_a_few_at_a_time():
    assert most((512, 512)) * 512 * 512 == PIXELS
    assert most((512, 512), beside=1 << 24) == 2
    assert most((20_000, 20_000)) == 1
