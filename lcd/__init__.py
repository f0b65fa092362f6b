"""Learning Challenge Diagnosticator."""
