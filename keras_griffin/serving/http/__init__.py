"""The engine behind HTTP, as OpenAI's API has it."""
