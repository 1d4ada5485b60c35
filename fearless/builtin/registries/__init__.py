"""Registries that are reached over the network: any OCI distribution registry, and ECR."""
