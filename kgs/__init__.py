"""The key generation service: fills the key-db with every key, and checks it."""
