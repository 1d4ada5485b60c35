"""The steps of the release procedure: each a pair `find` and `make`, named by the SHA."""
