"""The fleet: GPU boxes that are rented by the minute, from the wish for one to its end."""
