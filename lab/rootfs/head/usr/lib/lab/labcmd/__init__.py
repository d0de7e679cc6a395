"""Stand-in for Bright's cluster management daemon of BCM and for its shell."""
