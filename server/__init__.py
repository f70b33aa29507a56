"""The service: Tornado handlers over two PostgreSQL databases."""
