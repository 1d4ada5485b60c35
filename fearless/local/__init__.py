"""The embedded cloud: AWS on loopback, for trying, developing and testing."""
