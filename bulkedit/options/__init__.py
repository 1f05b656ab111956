"""The options of all commands: each is declared once, as a field of a frozen dataclass.

The command line, the environment, `config.toml`, `import bulkedit` and docs/commands.md are generated from it. These
modules import no heavy library, because `--help` and shell completion need them.
"""
