"""What encoders hold of depth order and of others' lines of sight: tasks, models, controls and their table."""
