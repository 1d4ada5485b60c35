"""`fearless build`: the build farm from the command line."""
