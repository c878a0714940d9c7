"""What an update keeps beside the slots: the release floor in a second place, the newest day, signed resets, proofs."""
