"""The thin driver: the SOP's gates before a run on the fleet, its records afterwards."""
