"""The build farm: containers built by workers on other machines, ordered by an SQS queue."""
