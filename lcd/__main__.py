"""``python -m lcd`` is the command ``lcd``."""

from lcd.cli.main import main

main()
