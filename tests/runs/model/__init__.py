"""The lane's code checked exhaustively in the small: every order of troubles within a scope, every state once."""
