"""Where the CPU of a study goes, stage by stage."""
