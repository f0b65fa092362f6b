"""Surveys: many games diagnosed by one plan, and their results as tables."""
