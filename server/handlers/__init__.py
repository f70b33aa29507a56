"""What answers requests: reads the input, makes one call of the domain, writes the answer."""
