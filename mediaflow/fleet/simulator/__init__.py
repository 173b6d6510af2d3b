"""A market of GPU boxes that plays Vast.ai: over HTTP in real time, and a month of it in simulated time."""
