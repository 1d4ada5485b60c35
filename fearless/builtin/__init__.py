"""Built-in providers: plugins like any other."""
