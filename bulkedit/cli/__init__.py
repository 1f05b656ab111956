"""The commands: they read words, call the modules below and say what came of it."""
