"""The test kit shipped to plugin authors: fakes, an emulator, one contract suite per slot."""
