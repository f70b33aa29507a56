"""What strangers and attackers send. HOSTILE_REQUESTS says how much of it; `make abuse` sends a lot."""
