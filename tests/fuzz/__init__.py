"""Every decoder against bytes that nobody has encoded."""
