"""What runs on a box: it takes items from the gateway, works on them as a worker does, and answers."""
