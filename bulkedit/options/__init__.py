"""What a user can tell each command: every option is declared once, as a field of a frozen dataclass.

The command line, the environment, `config.toml`, `import bulkedit` and docs/commands.md all take it from there. These
modules import no heavy library, because `--help` and the completion of words need them.
"""
