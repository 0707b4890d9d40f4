"""What a re-run of stored films takes, beside the first pass of the same films."""
