"""What it costs to start a command, against an interpreter that does nothing."""
