"""The key generation service: fills the key-db with every key, and answers for what is in it."""
