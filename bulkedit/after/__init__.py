"""What follows a run: its report, its verification, its undoing."""
