from deeplab_lightning.datamodules.sampler import EpochSampler


def test_each_epoch_has_its_own_permutation() -> None:
    sampler = EpochSampler(20, seed=3)
    epochs = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        keys = list(sampler)
        assert {each for _, each in keys} == {epoch}
        epochs.append([index for index, _ in keys])
        assert sorted(epochs[-1]) == list(range(20))
    assert epochs[0] != epochs[1] != epochs[2]


def test_order_depends_on_seed_and_epoch_alone() -> None:
    first, second, other = EpochSampler(20, 3), EpochSampler(20, 3), EpochSampler(20, 4)
    list(first)
    for sampler in (first, second, other):
        sampler.set_epoch(5)
    assert list(first) == list(second) != list(other)


def test_ranks_share_the_epoch_without_overlap() -> None:
    shares = [list(EpochSampler(11, 0, rank, 3)) for rank in range(3)]
    assert [len(share) for share in shares] == [len(EpochSampler(11, 0, rank, 3)) for rank in range(3)] == [3, 3, 3]
    assert len({key for share in shares for key in share}) == 9


def test_a_resumed_epoch_continues_and_later_ones_are_complete() -> None:
    whole, resumed = EpochSampler(20, 3), EpochSampler(20, 3)
    resumed.resume(4, 7)
    for epoch in (4, 5):
        whole.set_epoch(epoch)
        resumed.set_epoch(epoch)
        assert list(resumed) == list(whole)[7 if epoch == 4 else 0 :]


def test_the_images_of_a_step_do_not_depend_on_the_number_of_ranks() -> None:
    alone = list(EpochSampler(24, 5))
    for world_size in (2, 3):
        batch = 12 // world_size
        ranks = [list(EpochSampler(24, 5, rank, world_size)) for rank in range(world_size)]
        for step in range(2):
            together = {key for rank in ranks for key in rank[step * batch : (step + 1) * batch]}
            assert together == set(alone[step * 12 : (step + 1) * 12])
