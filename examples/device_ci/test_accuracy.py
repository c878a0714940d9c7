"""The bundle that ships keeps what it had: bounds on mean scores, and the same masks as last time."""


def test_the_scores_stay_above_their_bounds(physedge_regression):
    answers = physedge_regression(min_dice=0.8, max_hd95=25)
    assert len(answers.names) >= 4


def test_the_masks_are_those_of_the_golden_file(physedge_regression):
    physedge_regression(golden="golden/frames.npz", flipped_fraction=0.001)
