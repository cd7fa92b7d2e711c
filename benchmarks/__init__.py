"""What is measured, each against a peer or a floor in one run: ``python -m benchmarks.NAME [--json] [--quick]``."""
