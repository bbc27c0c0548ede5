"""What tests share: real services, simulated units, fixtures."""
