"""Operations: submitting folders, and the processes that do the work."""
