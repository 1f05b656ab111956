"""Shell scripts of the AWS CLI as edit lists. They are read, and never run."""
