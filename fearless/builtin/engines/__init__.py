"""Where units of work are performed: the built-in copy engines."""
