"""`[ami] use = "packer"`: bakes the machine image on EC2, and proves that it boots."""
