"""Atomic writing of files, reading within limits, and validation of inputs."""
