"""Hostile requests. HOSTILE_REQUESTS sets how many; `make abuse` sends over 100,000."""
