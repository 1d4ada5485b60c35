"""Programs that copy a table, each run in a process of its own and measured from inside."""
