"""The gateway: workers that stand in for boxes, and the door at which boxes fetch their work."""
