"""The data plane: copy, follow, verify and fence DynamoDB tables. Knows nothing of stacks."""
