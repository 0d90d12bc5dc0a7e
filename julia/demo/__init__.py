"""The demonstration of `make run`: invented doctors, chips of the simulator, a campaign that moves at any hour."""
