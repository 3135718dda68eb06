"""What is true about bulk email: pure, no clock, no I/O."""
