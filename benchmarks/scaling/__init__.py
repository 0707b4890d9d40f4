"""How the flow from C-STORE to a committed row grows with workers and associations, on one machine."""
