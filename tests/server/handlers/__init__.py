"""Tests of server/handlers, over real HTTP."""
