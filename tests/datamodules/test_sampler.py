from deeplab_lightning.datamodules.sampler import EpochSampler


def test_each_epoch_is_a_permutation_of_its_own() -> None:
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
